"""Reorders the images of sources that can only be read from front to back.

A zip or tar on S3, or a table, is read once in its own order, and the images of the next shards are
written to one local file, from which the shards are then made in any order. That takes the size of
the images on a local disk. If it does not fit, there are several rounds, each of which reads the
source again.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO, Protocol

from dcvae.environment import SPILL_BYTES
from dcvae.errors import UserError
from dcvae.progress import OnProgress, Tally
from dcvae.sharding.plan import Task
from dcvae.sharding.sources import Item, Source
from dcvae.sharding.sources.base import Loaded
from dcvae.shards.encodings import BadImage

LARGEST = 32 << 30  # bytes of one round, if twice as much is free on the disk
IMAGES = 400_000  # most images of one round, whose names are in memory
_TOLD = 256  # images between two progress reports


class Reader(Protocol):
    """What can load an image."""

    def load(self, item: Item) -> Loaded: ...


class Spill:
    """Images in an unnamed local file. It can be pickled: other processes open the file through
    this process, which must stay alive."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_path": self._path, "_file": None}

    def load(self, item: Item) -> Loaded:
        """The bytes at ``item.reference`` (start, length, reason)."""
        start, length, reason = item.reference
        if reason:
            raise BadImage(reason)
        if self._file is None:
            self._file = open(self._path, "rb")  # noqa: SIM115, PTH123
        self._file.seek(start)
        return self._file.read(length)


def rounds(
    source: Source, tasks: Iterator[Task], progress: OnProgress | None
) -> Iterator[tuple[Reader, Iterator[Task]]]:
    """``tasks`` in rounds, each with what loads its images."""
    if not source.ordered:
        yield source, tasks
        return
    for some in _rounds(tasks, budget()):
        with tempfile.TemporaryFile(prefix="dcvae-") as file:
            yield (
                Spill(f"/proc/{os.getpid()}/fd/{file.fileno()}"),
                iter(_lay_down(source, some, file, progress)),
            )


def budget() -> int:
    """Bytes that one round may write: ``DCVAE_SPILL_BYTES``, or half of the temporary folder's free
    space, at most 32 GiB.

    Raises:
        UserError: the variable is not a number.
    """
    told = os.environ.get(SPILL_BYTES)
    if told is None:
        return min(LARGEST, shutil.disk_usage(tempfile.gettempdir()).free // 2)
    if not told.isascii() or not told.isdigit():
        raise UserError(f"{SPILL_BYTES} is {told!r}: give a number of bytes")
    return int(told)


def _rounds(tasks: Iterator[Task], most: int) -> Iterator[list[Task]]:
    some: list[Task] = []
    size = count = 0
    for task in tasks:
        needed = sum(item.size for item in task.items)
        if some and (size + needed > most or count + len(task.items) > IMAGES):
            yield some
            some, size, count = [], 0, 0
        some.append(task)
        size, count = size + needed, count + len(task.items)
    if some:
        yield some


def _lay_down(
    source: Source, tasks: list[Task], file: BinaryIO, progress: OnProgress | None
) -> list[Task]:
    """Copy the images of ``tasks`` into ``file`` in the source's order; return tasks for it."""
    places = [(item.place, t, n) for t, task in enumerate(tasks) for n, item in
              enumerate(task.items) if not item.bad]  # fmt: skip
    places.sort()
    found = [list(task.items) for task in tasks]
    tally = Tally(progress or _untold, len(places), f"reading {source.name}")
    start = 0
    for number, (_, t, n) in enumerate(places, 1):
        item = found[t][n]
        try:
            body = source.load(item)
            assert isinstance(body, bytes)
            file.write(body)
            reference = (start, len(body), "")
            start += len(body)
        except BadImage as error:
            reference = (0, 0, str(error))
        except OSError as error:
            raise UserError(
                f"the temporary folder takes no more images ({error.strerror}): make room there, "
                f"set TMPDIR to a folder on a larger disk, or {SPILL_BYTES} to fewer bytes"
            ) from error
        found[t][n] = item._replace(reference=reference)
        if number % _TOLD == 0 or number == len(places):
            tally(number - tally.done)
    file.flush()
    return [replace(task, items=tuple(items)) for task, items in zip(tasks, found, strict=True)]


def _untold(done: int, total: int | None, what: str) -> None: ...
