"""Starting processes, and looking at them from outside."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import psutil

PRELOADED = ["tests.painted", "dcvae.streaming.stream", "dcvae.storage.s3"]


def fresh() -> ForkServerContext:
    """Processes without this one's threads and connections, started in milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def child(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A started process that runs ``target`` with the environment of this one."""
    process = fresh().Process(target=_run, args=(dict(os.environ), target, arguments))
    process.start()
    return process


def _run(environment: dict[str, str], target: Callable[..., None], arguments: Any) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and is not waited for does not)."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for ``condition``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def noted(*files: Path) -> list[int]:
    """The process numbers in ``files``, once all are written."""
    wait_until(lambda: all(file.exists() and file.read_text() for file in files), 60)
    return sorted({int(file.read_text()) for file in files})


def below(pid: int) -> set[int]:
    """All living descendants of a process; none if it has ended."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return set()
    return {each.pid for each in found if alive(each.pid)}
