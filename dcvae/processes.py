"""Processes that never outlive the one they work for.

Three safeguards, each for a case the others miss: a stop sends SIGTERM down the tree and waits; the
kernel kills a child whose parent is killed; and a step of a local pipeline, which is started
through a shell, watches the pipeline's own process.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from dcvae.environment import PARENT_PID, RUN_PID

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WATCH_SECONDS = 0.2
_CLOCK_SECONDS = 2.0
"""How far two readings of one process's start time may differ."""
_POLL_SECONDS = 0.02


def parent_environment() -> dict[str, str]:
    """Variables that tell a child that calls ``die_with_parent`` who its parent is."""
    return {PARENT_PID: str(os.getpid())}


def die_with_parent(parent: int | None = None) -> None:
    """Have this process killed when its parent ends, however it ends.

    The kernel sends its signal when the parent's *thread* that started this process ends, so start
    long-running children from a thread that lives as long as they should. A parent that is gone
    before this call is recognised by its ID: ``parent``, or the one in the environment
    (``parent_environment``).
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    expected = parent or int(os.environ.get(PARENT_PID) or 0)
    if expected and os.getppid() != expected:
        os.kill(os.getpid(), signal.SIGKILL)


def run_environment() -> dict[str, str]:
    """Variables for processes below this one that call ``die_with_run``."""
    return {RUN_PID: f"{os.getpid()}:{start_of(os.getpid())}"}


def die_with_run() -> None:
    """Have this process killed when the run it belongs to ends; does nothing outside a run.

    For processes with another process between them and the run, such as the shell through which a
    local pipeline starts its steps.
    """
    pid, _, began = os.environ.get(RUN_PID, "").partition(":")
    if not pid:
        return

    def watch() -> None:
        while lives(int(pid), float(began)):
            time.sleep(_WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="dies-with-the-run", daemon=True).start()


def adopt_orphans() -> None:
    """Adopt descendants whose parent ends, so that ``end_children`` sees them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children(grace: float, keep: Set[int] = frozenset()) -> None:
    """End this process's children, except those in ``keep``, and everything below them.

    Each is asked once to finish (SIGTERM), from the top down: we adopt the children of one that
    ends. After ``grace`` seconds, or when interrupted meanwhile, all are killed.
    """

    def children() -> set[psutil.Process]:
        return {each for each in psutil.Process().children() if each.pid not in keep}

    asked: set[psutil.Process] = set()
    deadline = time.monotonic() + grace
    try:
        while (left := children()) and time.monotonic() < deadline:
            _signal(left - asked, signal.SIGTERM)
            asked |= left
            _reap(left)
            time.sleep(_POLL_SECONDS)
    finally:
        while left := children():
            _signal(left, signal.SIGKILL)
            _reap(left)
            time.sleep(_POLL_SECONDS)


def end_tree(pid: int, grace: float) -> None:
    """End the child ``pid`` and everything below it; only the child is asked (once) to finish.

    The child is expected to pass the SIGTERM on as it sees fit. After ``grace`` seconds, or when
    interrupted meanwhile, everything is killed. Returns when no process is left.
    """
    try:
        root = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    tree = _tree(root)
    _signal({root}, signal.SIGTERM)
    deadline = time.monotonic() + grace
    try:
        while _running(root) and time.monotonic() < deadline:
            tree |= _tree(root)
            time.sleep(_POLL_SECONDS)
    finally:
        tree |= _tree(root)
        while left := set(filter(_running, tree)):
            _signal(left, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Within the block, SIGTERM raises ``SystemExit(143)``, so that every ``finally`` runs.

    Only the main thread can receive signals; elsewhere this does nothing. A second SIGTERM while
    the first is being handled is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def start_of(pid: int) -> float:
    """When the process started, in seconds since 1970; tells it from a later one of the same ID.

    Raises:
        psutil.NoSuchProcess: there is no such process.
    """
    return float(psutil.Process(pid).create_time())


def lives(pid: int, started: float) -> bool:
    """Whether the process ``pid`` that started at ``started`` (``start_of``) is still running."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < _CLOCK_SECONDS and _running(process)
    except psutil.NoSuchProcess:
        return False


def _running(process: psutil.Process) -> bool:
    """Whether it has not ended; its ID may belong to another process by now."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _tree(root: psutil.Process) -> set[psutil.Process]:
    """``root`` and its descendants."""
    try:
        return {root, *root.children(recursive=True)}
    except psutil.NoSuchProcess:
        return {root}


def _reap(processes: Iterable[psutil.Process]) -> None:
    """Remove children that have ended from the process table."""
    for process in processes:
        with suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


if __name__ == "__main__":  # PARENT COMMAND…: become the command, and die with the parent
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
