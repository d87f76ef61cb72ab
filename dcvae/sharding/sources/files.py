"""Sources made of image files: a folder, a zip, an S3 prefix.

Three layouts are understood: ``train/…`` and ``test/…`` as splits; one folder per class below
that; or images anywhere. Without splits of their own, a fraction is held out for testing: the
images whose names hash lowest, so that the choice does not depend on the order or the machine.
"""

import stat
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from dcvae.errors import UserError
from dcvae.sharding.sources.base import Item, Source, name_hash
from dcvae.shards.encodings import BadImage
from dcvae.storage import ObjectInfo, Storage, open_storage
from dcvae.storage.uri import check_key

SUFFIXES = {
    *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
}
MAX_FILE_BYTES = 256 << 20
_SPLITS = ("train", "test")
_IGNORED = ("__MACOSX",)


class File(NamedTuple):
    """One candidate: its path below the source, its stamp, and why it is bad if it is."""

    path: str
    stamp: str
    bad: str = ""


class FileSource(Source):
    """Image files below some root; subclasses know how to list and read them.

    Args:
        test: fraction (below 1) or number (1 or more) of images to hold out, where the source
            has no ``test`` folder.
    """

    def __init__(self, uri: str, name: str, test: float) -> None:
        self.uri, self.name, self._test = uri, name, test
        self._layout: _Layout | None = None

    @abstractmethod
    def files(self) -> Iterator[File]:
        """All image files, lazily and always in the same order."""

    @property
    def splits(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._look().splits

    @property
    def classes(self) -> list[str] | None:  # type: ignore[override]
        return self._look().classes

    def items(self, split: str) -> Iterator[Item]:
        layout = self._look()
        labels = {name: n for n, name in enumerate(layout.classes or [])}
        for file in self.files():
            if layout.split_of(file.path) == split:
                folder = layout.class_of(file.path)
                yield Item(file.path, file.stamp, labels.get(folder or ""), file.path, file.bad)

    def _look(self) -> "_Layout":
        if self._layout is None:
            self._layout = _Layout(self.uri, (file.path for file in self.files()), self._test)
        return self._layout


class _Layout:
    """What the paths of a source say about splits and classes. Keeps no path."""

    def __init__(self, uri: str, paths: Iterator[str], test: float) -> None:
        tops: set[str] = set()
        inner: dict[bool, set[str]] = {True: set(), False: set()}
        flat = {True: False, False: False}
        hashes: list[int] = []
        for path in paths:
            parts = PurePosixPath(path).parts
            tops.add(parts[0] if len(parts) > 1 else "")
            for below_split in (True, False):  # the class, if the first folder is a split or not
                rest = parts[1:] if below_split else parts
                flat[below_split] |= len(rest) < 2
                if len(rest) > 1 and len(inner[below_split]) <= 100_000:
                    inner[below_split].add(rest[0])
            hashes.append(name_hash(path))
        if not hashes:
            kinds = ", ".join(sorted(SUFFIXES))
            raise UserError(f"{uri} has no images: no file ends in one of {kinds}")
        self._own = bool(tops) and tops <= set(_SPLITS) and "train" in tops
        self.classes = None if flat[self._own] else sorted(inner[self._own])
        self.splits = tuple(s for s in _SPLITS if s in tops) if self._own else _SPLITS
        self._limit = 0 if self._own else _limit(uri, np.array(hashes, np.uint64), test)

    def split_of(self, path: str) -> str:
        if self._own:
            return PurePosixPath(path).parts[0]
        return "test" if name_hash(path) <= self._limit else "train"

    def class_of(self, path: str) -> str | None:
        parts = PurePosixPath(path).parts[1 if self._own else 0 :]
        return parts[0] if self.classes and len(parts) > 1 else None


def _limit(uri: str, hashes: npt.NDArray[np.uint64], test: float) -> int:
    """The highest hash of those held out."""
    count = max(1, round(test * len(hashes))) if test < 1 else int(test)
    if test < 0 or count >= len(hashes):
        raise UserError(
            f"{uri} has {len(hashes)} images: {count} cannot be held out for testing; use more "
            "images, fewer for testing, or folders train/ and test/"
        )
    return int(np.partition(hashes, count - 1)[count - 1])


class Folder(FileSource):
    """Images in a local folder. Symbolic links are followed only to files inside the folder."""

    def __init__(self, uri: str, root: Path, test: float) -> None:
        super().__init__(uri, root.resolve().name or "images", test)
        self._root = root.resolve()

    def files(self) -> Iterator[File]:
        return self._below(self._root)

    def load(self, item: Item) -> bytes:
        try:
            with (self._root / item.name).open("rb") as stream:
                return _bounded(stream)
        except OSError as error:
            raise BadImage(f"unreadable ({error.strerror})") from error

    def _below(self, folder: Path) -> Iterator[File]:
        try:
            entries = sorted(folder.iterdir(), key=lambda path: path.name.encode(errors="replace"))
        except OSError as error:
            raise UserError(f"cannot list {folder}: {error.strerror}") from error
        for path in entries:
            if path.name.startswith(".") or path.name in _IGNORED:
                continue
            if path.is_dir() and not path.is_symlink():
                yield from self._below(path)
            elif path.suffix.lower() in SUFFIXES:
                yield self._file(path)

    def _file(self, path: Path) -> File:
        name = path.relative_to(self._root).as_posix()
        try:
            name.encode()
            if path.is_symlink() and not path.resolve(strict=True).is_relative_to(self._root):
                return File(name, "", "a link to outside the folder")
            status = path.stat()
        except (OSError, RuntimeError) as error:
            return File(name, "", f"unreadable ({error})")
        except UnicodeEncodeError:
            return File(ascii(name), "", "its name is not UTF-8")
        if not stat.S_ISREG(status.st_mode):
            return File(name, "", "no plain file")
        return File(name, f"{status.st_size}-{status.st_mtime_ns}")


class Bucket(FileSource):
    """Images below an S3 prefix (or any other place that storage knows)."""

    def __init__(self, uri: str, test: float) -> None:
        super().__init__(uri, PurePosixPath(uri).name or "images", test)
        self._storage: Storage = open_storage(uri)

    def files(self) -> Iterator[File]:
        for found in self._storage.list():
            if _is_image(found.key):
                yield File(found.key, f"{found.size}-{found.etag}", self._bad_key(found.key))

    def load(self, item: Item) -> bytes:
        size, _, etag = item.stamp.partition("-")
        if int(size) > MAX_FILE_BYTES:
            raise BadImage(f"larger than {MAX_FILE_BYTES >> 20} MiB")
        return self._storage.read_listed(ObjectInfo(item.name, int(size), etag))

    def _bad_key(self, key: str) -> str:
        """Why no storage of ours reads an object of this key: ``a//b.png``, ``./c.png``."""
        try:
            check_key(key)
        except UserError:
            return f"the key of {self._storage.uri}/{key} is no relative path"
        return ""


class Zip(FileSource):
    """Images in a zip file, local or on S3. Nothing is ever unpacked to disk."""

    def __init__(self, uri: str, storage: Storage, key: str, test: float) -> None:
        super().__init__(uri, PurePosixPath(key).stem, test)
        self._storage, self._key = storage, key
        self._zip: zipfile.ZipFile | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_zip": None}

    def files(self) -> Iterator[File]:
        seen: set[str] = set()
        for info in sorted(self._open().infolist(), key=lambda info: info.filename):
            if info.is_dir() or not _is_image(info.filename):
                continue
            bad = _bad_entry(info) or ("there twice" if info.filename in seen else "")
            seen.add(info.filename)
            name = ascii(info.filename) if bad else info.filename
            yield File(name, f"{info.file_size}-{info.CRC:08x}", bad)

    def load(self, item: Item) -> bytes:
        try:
            with self._open().open(item.name) as stream:
                return _bounded(stream)
        except (BadImage, UserError):
            raise
        except Exception as error:  # zipfile and zlib raise many kinds
            raise BadImage(f"damaged in the zip ({error})") from error

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None:
            try:
                self._zip = zipfile.ZipFile(self._storage.open(self._key))
            except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
                raise UserError(f"{self.uri} is not a readable zip file: {error}") from error
        return self._zip


def _bad_entry(info: zipfile.ZipInfo) -> str:
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
        return "its path leads out of the zip"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link"
    if info.flag_bits & 1:
        return "encrypted"
    return f"larger than {MAX_FILE_BYTES >> 20} MiB" if info.file_size > MAX_FILE_BYTES else ""


def _is_image(path: str) -> bool:
    parts = PurePosixPath(path).parts
    hidden = any((part.startswith(".") and part != "..") or part in _IGNORED for part in parts)
    return PurePosixPath(path).suffix.lower() in SUFFIXES and not hidden


def _bounded(stream: BinaryIO | Any) -> bytes:
    return _checked(stream.read(MAX_FILE_BYTES + 1))


def _checked(body: bytes) -> bytes:
    if len(body) > MAX_FILE_BYTES:
        raise BadImage(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    return body
