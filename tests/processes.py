"""Looking at processes from outside."""

import time
from collections.abc import Callable
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and is not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for ``condition``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def noted(*files: Path) -> list[int]:
    """The process numbers in ``files``, once all are written."""
    wait_until(lambda: all(file.exists() and file.read_text() for file in files), 60)
    return sorted({int(file.read_text()) for file in files})


def below(pid: int) -> set[int]:
    """All living descendants of a process."""
    families: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        families.setdefault(parent, []).append(int(entry.parent.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in families.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return {child for child in found if alive(child)}
