"""Sources made of image files, wherever they are: what their folders and labels mean."""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dcvae.errors import UserError
from dcvae.sharding.sources.base import Item, name_hash
from dcvae.sharding.sources.hints import Hints
from dcvae.sharding.sources.kinds import suffixes
from dcvae.sharding.sources.labels import Labels
from dcvae.sharding.sources.layout import Layout, understand
from dcvae.sharding.sources.listing import File, LeftOut, Listing
from dcvae.sharding.sources.looked import LookedThrough, held_out
from dcvae.shards.encodings import BadImage
from dcvae.storage import open_storage

MAX_FILE_BYTES = 256 << 20
_INSTEAD = {".tar": "webdataset:", ".parquet": "parquet:"}


class FileSource(LookedThrough["_Found"]):
    """Image files below some root; subclasses know how to find and read them."""

    def __init__(self, uri: str, name: str, hints: Hints) -> None:
        self.uri, self.name, self.hints = uri, name, hints

    @abstractmethod
    def find(self) -> Iterator[File]:
        """All files, pictures or not, in the order that is cheapest to read."""

    @abstractmethod
    def read(self, reference: Any) -> bytes:
        """The bytes of one file, but at most :data:`MAX_FILE_BYTES` + 1.

        Raises:
            BadImage: it cannot be read.
        """

    @property
    def ignored(self) -> list[LeftOut]:  # type: ignore[override]
        return self.found.listing.ignored

    def load(self, item: Item) -> bytes:
        return checked(self.read(item.reference))

    def look(self) -> "_Found":
        return _Found(self)


class _Found:
    """The pictures found in a source, and what their paths mean."""

    def __init__(self, source: FileSource) -> None:
        uri, hints = source.uri, source.hints
        self.listing = Listing(source.find())
        self._labels = _labels(source, self.listing)
        labelled = self._labels is not None
        self.layout: Layout = understand(uri, self.listing.good_paths(), hints, labelled)
        self._held_out = 0
        self.splits = self.layout.splits or ("train",)
        hashes = self._hashes()
        if not len(hashes):
            raise UserError(f"{uri} has no images{_instead(uri, self.listing.ignored)}")
        self.classes, self.notes = self.layout.classes, list(self.layout.notes)
        if "test" not in self.splits:
            self._held_out, note = held_out(uri, hashes, hints.test)
            if note:
                self.splits = ("train", "test")
                self.notes.append(note)
        if self._labels is not None:
            self.classes = self._labels.classes or None
            self.notes.append(f"labels are those of {self._labels.uri}")
            self._refuse_other_labels(uri)

    def items(self, split: str) -> Iterator[Item]:
        numbers = {name: n for n, name in enumerate(self.layout.classes or [])}
        for file in self.listing:
            where, folder, bad = self._place(file)
            if where != split:
                continue
            label = numbers.get(folder or "")
            if self._labels is not None and self._labels.classes:
                label = self._labels.find(file.path, self.layout.wrapper)
                if label is None and not bad:
                    bad = f"no label in {PurePosixPath(self._labels.uri).name}"
            yield Item(file.path, file.stamp, label, file.reference, bad, file.size)

    def _place(self, file: File) -> tuple[str, str | None, str]:
        """(split, class folder, why it is bad)."""
        place = self.layout.place(file.path)
        if place is None and not file.bad:
            return "", None, ""
        # A bad file may have any name: it is counted where it seems to belong.
        split, folder = place or ("", None)
        if not split or (split == "train" and self._held_out):
            split = "test" if name_hash(file.path) < self._held_out else "train"
        return split, folder, file.bad

    def _hashes(self) -> npt.NDArray[np.uint64]:
        """Hashes of all training images that may be held out; counts what is left out."""
        hashes = []
        for file in self.listing:
            place = self.layout.place(file.path)
            if place is None and not file.bad:
                self.listing.ignore("outside the folders of splits and classes", file.path)
            else:
                hashes.append(name_hash(file.path))
        return np.array(hashes, np.uint64)

    def _refuse_other_labels(self, uri: str) -> None:
        labels = self._labels
        assert labels is not None
        if labels.empty:
            return
        if not sum(labels.find(p, self.layout.wrapper) is not None for p in self._paths()):
            count, example = labels.unused()
            raise UserError(
                f"{labels.uri} has {count:,} labels, such as that of {example}, but of no image of "
                f"{uri}, such as {next(self._paths())}"
            )
        count, example = labels.unused()
        for _ in range(count):
            self.listing.ignore("labels without an image", example)

    def _paths(self) -> Iterator[str]:
        return self.listing.good_paths()


def _labels(source: FileSource, listing: Listing) -> Labels | None:
    """The labels that the user names, or the dataset.json of StyleGAN's tools in the source."""
    hints = source.hints
    if hints.labels is not None:
        if hints.classes != "auto":
            raise UserError("--labels and --classes contradict each other: leave one out")
        root, _, key = hints.labels.rstrip("/").rpartition("/")
        return Labels(hints.labels, open_storage(root or ("/" if _ else ".")).read(key))
    if hints.classes != "auto":
        return None
    for path in listing.label_files:
        if len(PurePosixPath(path).parts) > 2:
            continue
        try:
            body = source.read(path)
        except BadImage as error:
            raise UserError(f"{source.uri}/{path} cannot be read: {error}") from error
        if b'"labels"' in body:
            return Labels(f"{source.uri}/{path}", body)
    return None


def _instead(uri: str, ignored: list[LeftOut]) -> str:
    """The end of the error message about a source without images."""
    for kind, count, _ in ignored:
        if kind in _INSTEAD:
            return f", but {count:,} files that end in {kind}: say {_INSTEAD[kind]}{uri}"
    other = ", ".join(f"{count:,} {kind}" for kind, count, _ in ignored[:4])
    known = ", ".join(sorted(suffixes() & {".bmp", ".gif", ".jpg", ".png", ".tiff", ".webp"}))
    return f": no file is a picture such as {known}" + (f"; it has {other}" if other else "")


def bounded(stream: BinaryIO | Any) -> bytes:
    """All of a stream, but at most one byte more than a file may have."""
    body: bytes = stream.read(MAX_FILE_BYTES + 1)
    return body


def too_large(size: int) -> str:
    """Why a file of this size cannot be used; empty if it can."""
    return f"larger than {MAX_FILE_BYTES >> 20} MiB" if size > MAX_FILE_BYTES else ""


def checked(body: bytes) -> bytes:
    """``body`` itself.

    Raises:
        BadImage: it is too large.
    """
    if len(body) > MAX_FILE_BYTES:
        raise BadImage(too_large(len(body)))
    return body
