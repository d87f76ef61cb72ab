"""Processes that never outlive the one they work for.

Three nets, each for a case the others miss: a stop sends SIGTERM down the tree and waits; the
kernel kills a child whose parent is killed; and a step of a local pipeline, which a shell stands
before, watches the pipeline's own process.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from dcvae.environment import PARENT_PID, RUN_PID

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WATCH_SECONDS = 0.2
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
    pid, _, started = os.environ.get(RUN_PID, "").partition(":")
    if not pid:
        return

    def watch() -> None:
        while start_of(int(pid)) == started:
            time.sleep(_WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="dies-with-the-run", daemon=True).start()


def adopt_orphans() -> None:
    """Make processes whose parent ends children of this one, so that ``end_children`` sees them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> set[int]:
    """Numbers of this process's children, adopted ones included."""
    return set(_families().get(os.getpid(), []))


def end_children(grace: float, keep: Set[int] = frozenset()) -> None:
    """End this process's children but those in ``keep``, and everything below them.

    Each is asked once to finish (SIGTERM), from the top down: a child that ends leaves its own
    to us. After ``grace`` seconds, or when interrupted meanwhile, all are killed.
    """
    asked: set[int] = set()
    deadline = time.monotonic() + grace
    try:
        while (left := children() - keep) and time.monotonic() < deadline:
            _signal(left - asked, signal.SIGTERM)
            asked |= left
            _reap(left)
            time.sleep(_POLL_SECONDS)
    finally:
        while left := children() - keep:
            _signal(left, signal.SIGKILL)
            _reap(left)
            time.sleep(_POLL_SECONDS)


def end_tree(pid: int, grace: float) -> None:
    """End the child ``pid`` and all below it; only the child itself is asked (once) to finish.

    The child is expected to pass the SIGTERM on in its own way. After ``grace`` seconds, or when
    interrupted meanwhile, everything is killed. Returns when no process is left.
    """
    tree = _tree(pid)
    _signal({pid}, signal.SIGTERM)
    deadline = time.monotonic() + grace
    try:
        while start_of(pid) and time.monotonic() < deadline:
            tree |= _tree(pid)
            time.sleep(_POLL_SECONDS)
    finally:
        tree |= _tree(pid)
        while left := {p for p, started in tree.items() if started and start_of(p) == started}:
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


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on: state, parent, group, session, …"""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def start_of(pid: int) -> str:
    """When the process began, in clock ticks; empty if it has ended. Numbers of processes recur."""
    fields = _stat(pid)
    return "" if fields is None or fields[0] == "Z" else fields[19]


def _families() -> dict[int, list[int]]:
    """Children by parent, for every process of the machine."""
    families: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            families.setdefault(int(fields[1]), []).append(int(entry.name))
    return families


def _tree(pid: int) -> dict[int, str]:
    """``pid`` and its descendants, with when each began."""
    families = _families()
    found = {pid: start_of(pid)}
    waiting = [pid]
    while waiting:
        for child in families.get(waiting.pop(), []):
            waiting.append(child)
            found[child] = start_of(child)
    return found


def _reap(pids: Iterable[int]) -> None:
    """Take the end of children off the process table."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
