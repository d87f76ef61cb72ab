"""Sources of a few large files with many images each: which files, and which split each one is."""

import posixpath
import re
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from dcvae.errors import UserError
from dcvae.sharding.scratch import disk_errors, scratch
from dcvae.sharding.sources.base import Item, name_hash
from dcvae.sharding.sources.hints import Hints
from dcvae.sharding.sources.labels import MOST_CLASSES, in_class_order
from dcvae.sharding.sources.layout import role
from dcvae.sharding.sources.listing import LeftOut
from dcvae.sharding.sources.looked import LookedThrough, held_out
from dcvae.storage import Storage, open_storage, split_uri

_SHOWN = 3  # files named in a message


class Piece(NamedTuple):
    """One file: its location, its name within the source, its split, stamp and size."""

    storage: Storage
    key: str
    name: str
    split: str
    stamp: str
    size: int

    @property
    def uri(self) -> str:
        """For messages."""
        return f"{self.storage.uri}/{self.key}"


class Row(NamedTuple):
    """One image: its split, name, stamp, label as text, and what is needed to load it."""

    split: str
    name: str
    stamp: str
    label: str | None
    reference: Any
    size: int
    bad: str = ""


class PieceSource(LookedThrough["_Found"]):
    """Images in such files; subclasses know how to list and how to load them.

    Attributes:
        class_names: names of the classes in their order, if the files contain them.
    """

    def __init__(self, uri: str, pieces: list[Piece], name: str, hints: Hints) -> None:
        self.uri, self.name, self.hints, self.pieces = uri, name, hints, pieces
        self.ordered = not all(p.storage.uri.startswith("file:") for p in pieces)
        self.class_names: list[str] | None = None

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """All images, file by file."""

    @property
    def ignored(self) -> list[LeftOut]:  # type: ignore[override]
        _ = self.found  # what is left out is known after the look
        return self.left_out()

    def left_out(self) -> list[LeftOut]:
        """What the files contain besides images."""
        return []

    def look(self) -> "_Found":
        return _Found(self)


class _Found:
    """All images of such a source, listed on the local disk."""

    def __init__(self, source: PieceSource) -> None:
        self._db = scratch()
        self._db.execute("CREATE TABLE rows (split, name, stamp, label, reference, size, bad)")
        with disk_errors():
            self._db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", source.rows())
        own = {row[0] for row in self._db.execute("SELECT DISTINCT split FROM rows")}
        if not own:
            raise UserError(f"{source.uri} has no images")
        self.splits = tuple(s for s in ("train", "test", "val") if s in own)
        self.notes = _notes(source.pieces)
        self._held_out = 0
        if "test" not in own:
            self._hold_out(source)
        self.classes = self._classes(source)
        self._numbers = {name: n for n, name in enumerate(self.classes or [])}

    def items(self, split: str) -> Iterator[Item]:
        query = "SELECT split, name, stamp, label, reference, size, bad FROM rows ORDER BY rowid"
        with disk_errors():
            for own, name, stamp, label, reference, size, bad in self._db.execute(query):
                there = "test" if self._is_held_out(own, name) else own
                if there != split:
                    continue
                if self.classes is not None and label is None and not bad:
                    bad = "no label"
                number = None if label is None else self._numbers[label]
                yield Item(name, stamp, number, reference.split(" "), bad, size)

    def _is_held_out(self, split: str, name: str) -> bool:
        return bool(self._held_out) and split == "train" and name_hash(name) < self._held_out

    def _hold_out(self, source: PieceSource) -> None:
        names = self._db.execute("SELECT name FROM rows WHERE split = 'train'")
        hashes = np.array([name_hash(name) for (name,) in names], np.uint64)
        self._held_out, note = held_out(source.uri, hashes, source.hints.test)
        if note:
            self.splits = ("train", "test", *self.splits[1:])
            self.notes.append(note)

    def _classes(self, source: PieceSource) -> list[str] | None:
        names = [row[0] for row in self._db.execute(
            "SELECT DISTINCT label FROM rows WHERE label IS NOT NULL AND bad = ''")]  # fmt: skip
        if not names:
            return None
        if len(names) > MOST_CLASSES:
            raise UserError(f"{source.uri} has {len(names):,} different labels: too many")
        given = source.class_names or []
        return [*given, *in_class_order([name for name in names if name not in set(given)])]


def find_pieces(uri: str, urls: list[str], suffix: str, hints: Hints, pattern: str) -> list[Piece]:
    """The files that ``urls`` (files, folders, prefixes) name, with their splits.

    Args:
        pattern: what the urls were expanded from; names are relative to its part without braces.

    Raises:
        UserError: there are none, or it is not clear which files are splits.
    """
    root = pattern.partition("{")[0].rpartition("/")[0]
    found: list[Piece] = []
    for url in urls:
        found += _listed(url, suffix, root if "{" in pattern else "")
    if not found:
        raise UserError(f"{uri} has no files that end in {suffix}")
    names = [piece.name for piece in found]
    if len(set(names)) < len(names):
        raise UserError(f"{uri} names two files {max(names, key=names.count)}: give one folder")
    return with_splits(uri, found, hints)


def _listed(url: str, suffix: str, root: str) -> list[Piece]:
    scheme, _, path = split_uri(url)
    if scheme not in ("s3", "file"):
        raise UserError(f"cannot open {url}: copy the files to a folder or a bucket first")
    if path.lower().endswith(suffix):
        place, _, key = url.rstrip("/").rpartition("/")
        storage = open_storage(place or ("/" if _ else "."))
        info = storage.stat(key)
        if info is None:
            raise UserError(f"there is no {url}")
        name = url.removeprefix(f"{root}/") if root else key
        return [Piece(storage, key, name, "", info.etag, info.size)]
    storage = open_storage(url)
    under = "" if not root or url.rstrip("/") == root else url.rstrip("/").removeprefix(f"{root}/")
    return [
        Piece(storage, i.key, posixpath.join(under, i.key), "", i.etag, i.size)
        for i in storage.list()
        if i.key.lower().endswith(suffix)
    ]


def with_splits(uri: str, pieces: list[Piece], hints: Hints) -> list[Piece]:
    """``pieces`` with the splits that their folders or names indicate."""
    roles = ["" if hints.splits == "none" else _role(piece.name) for piece in pieces]
    if not any(roles):
        if hints.splits == "folders":
            raise UserError(f"{uri} has no splits in its files' names: leave --splits out")
        return [piece._replace(split="train") for piece in pieces]
    if "train" not in roles:
        raise UserError(
            f"{uri} has {_named(pieces)} but nothing for training: name more files, or say "
            "--splits none if these are no splits"
        )
    if not all(roles) and hints.splits == "auto":
        without = [piece for piece, part in zip(pieces, roles, strict=True) if not part]
        raise UserError(
            f"{uri} has files for training and testing beside {_named(without)}: say --splits "
            "folders to leave those out, or --splits none to take all as one"
        )
    alone = "test" not in roles
    return [
        piece._replace(split="test" if alone and part == "val" else part)
        for piece, part in zip(pieces, roles, strict=True)
        if part
    ]


def _role(name: str) -> str:
    """The split that a file's folders, or else the parts of its name, indicate."""
    path = PurePosixPath(name)
    words = [*path.parts[:-1], *re.split(r"[-_.]", path.stem)]
    return next((found for word in words if (found := role(word))), "")


def _notes(pieces: list[Piece]) -> list[str]:
    notes = []
    for split in ("train", "test", "val"):
        names = [piece.name for piece in pieces if piece.split == split]
        if names and {p.split for p in pieces} != {"train"}:
            more = f" and {len(names) - 1:,} more files" if len(names) > 1 else ""
            notes.append(f"{names[0]}{more}: the split {split}")
    return notes


def _named(pieces: list[Piece]) -> str:
    names = [piece.name for piece in pieces[:_SHOWN]]
    more = len(pieces) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")
