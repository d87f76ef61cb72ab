"""The files found in a source, listed on the local disk."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from dcvae.sharding.scratch import disk_errors, scratch

LABEL_FILE = "dataset.json"  # of StyleGAN's tools


class File(NamedTuple):
    """One file of a source.

    Attributes:
        path: its path below the source, as shown: UTF-8, with forward slashes.
        stamp: changes when its content does.
        size: in bytes.
        reference: what is needed to read it, if not the path.
        bad: why it cannot be used, if that is known.
        ignored: what it is, if it is not a picture.
    """

    path: str
    stamp: str = ""
    size: int = 0
    reference: Any = None
    bad: str = ""
    ignored: str = ""


class LeftOut(NamedTuple):
    """Files that were left out: what they are, how many, and one of them."""

    kind: str
    files: int
    example: str


class Listing:
    """The pictures of a source, in its order, and counts of its other files."""

    def __init__(self, files: Iterable[File]) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self.label_files: list[str] = []
        self._db = scratch()
        self._db.execute("CREATE TABLE files (path, stamp, size, reference, bad)")
        with disk_errors():
            self._db.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?)", self._pictures(files))

    def _pictures(self, files: Iterable[File]) -> Iterator[tuple[Any, ...]]:
        for file in files:
            if file.ignored:
                self.ignore(file.ignored, file.path)
                if PurePosixPath(file.path).name == LABEL_FILE:
                    self.label_files.append(file.path)
            else:
                reference = json.dumps(file.path if file.reference is None else file.reference)
                yield file.path, file.stamp, file.size, reference, file.bad

    def ignore(self, kind: str, example: str) -> None:
        """Count a file that is left out."""
        self._counts[kind] += 1
        self._examples.setdefault(kind, example)

    @property
    def ignored(self) -> list[LeftOut]:
        """What was left out, most frequent first."""
        return [LeftOut(k, n, self._examples[k]) for k, n in self._counts.most_common()]

    def __iter__(self) -> Iterator[File]:
        query = "SELECT path, stamp, size, reference, bad FROM files ORDER BY rowid"
        with disk_errors():
            for path, stamp, size, reference, bad in self._db.execute(query):
                yield File(path, stamp, size, json.loads(reference), bad)

    def good_paths(self) -> Iterator[str]:
        """The paths of pictures that are not known to be bad."""
        with disk_errors():
            for (path,) in self._db.execute("SELECT path FROM files WHERE bad = ''"):
                yield path
