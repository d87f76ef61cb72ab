"""What all steps have in common."""

from functools import partial
from importlib.metadata import version

from kfp import dsl

IMAGE = f"ghcr.io/dcvae/dcvae:{version('dcvae')}"
"""The image every step runs in, pinned to this version; it contains dcvae and kfp."""

step = partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
"""Makes a function a step. Only the function's own source travels, so its body imports dcvae."""
