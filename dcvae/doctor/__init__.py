"""Checks what is there and what is missing before hours are spent: machine, storage, cluster."""

from dcvae.doctor.catalogue import catalogue
from dcvae.doctor.cluster import cluster
from dcvae.doctor.finding import Finding
from dcvae.doctor.machine import machine
from dcvae.doctor.storage import storage

__all__ = ["Finding", "catalogue", "cluster", "machine", "storage"]
