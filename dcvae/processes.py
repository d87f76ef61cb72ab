"""Processes that never outlive the one they work for.

Three nets, each for a case the others miss: a stop sends SIGTERM down the tree and waits; the
kernel kills a child whose parent is killed; and a step of a local pipeline, which a shell stands
before, watches the pipeline's own process.
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
"""By how much the machine may date one process's start differently for two that ask."""
_POLL_SECONDS = 0.02


def parent_environment() -> dict[str, str]:
    """Variables for a child that calls ``die_with_parent``: which process its parent is."""
    return {PARENT_PID: str(os.getpid())}


def die_with_parent(parent: int | None = None) -> None:
    """Have this process killed when its parent ends, however that ends.

    The kernel's signal follows the parent's *thread* that started this process, so start long
    running children from a thread that lives as long as they should. A parent that is gone
    before this call is noticed by its number: ``parent``, or the one in the environment
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
    """Have this process killed when the run it belongs to ends; nothing to do outside a run.

    For processes with something else between them and the run, such as the shell that a local
    pipeline starts its steps through.
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
    """Make processes whose parent ends children of this one, so that ``end_children`` sees them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children(grace: float, keep: Set[int] = frozenset()) -> None:
    """End this process's children but those in ``keep``, and everything below them.

    Each is asked once to finish (SIGTERM), from the top down: a child that ends leaves its own
    to us. After ``grace`` seconds, or when interrupted meanwhile, all are killed.
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
    """End the child ``pid`` and all below it; only the child itself is asked (once) to finish.

    The child is expected to pass the SIGTERM on in its own way. After ``grace`` seconds, or when
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
    """Within, SIGTERM raises ``SystemExit(143)``, so that every ``finally`` runs.

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
    """When the process began, in seconds since the epoch. Numbers of processes recur.

    Raises:
        psutil.NoSuchProcess: there is none.
    """
    return float(psutil.Process(pid).create_time())


def lives(pid: int, started: float) -> bool:
    """Whether the process ``pid`` that ``start_of`` said ``started`` of is still running."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < _CLOCK_SECONDS and _running(process)
    except psutil.NoSuchProcess:
        return False


def _running(process: psutil.Process) -> bool:
    """Whether it is there and has not ended; its number may be another's by now."""
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
    """Take the end of children off the process table."""
    for process in processes:
        with suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


if __name__ == "__main__":  # PARENT COMMAND…: become the command, and die with the parent
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
