"""CIFAR-10 and STL-10, from their binary files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcvae.errors import UserError
from dcvae.sharding.sources.base import Item, Loaded, Source
from dcvae.sharding.sources.local import size_of
from dcvae.shards.encodings import BadImage

_STL10_BYTES = 3 * 96 * 96
_STL10_CLASSES = [
    *("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
]
_STL10_FILES = {"train": ("unlabeled", "train"), "test": ("test",), "labelled": ("train",)}
_STL10_PUBLISHED = {"unlabeled": 100_000, "train": 5_000, "test": 8_000}


class Cifar10(Source):
    """CIFAR-10: 50,000 and 10,000 images of 32x32 pixels in 10 classes."""

    def __init__(self, uri: str, root: Path, _: str) -> None:
        self.uri, self.name, self._root = uri, "cifar10", root
        self._sets: dict[str, Any] = {}
        self.classes = list(self._set("test").classes)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sets": {}}

    def items(self, split: str) -> Iterator[Item]:
        for n, label in enumerate(self._set(split).targets):
            yield Item(f"{split}-{n:05d}", "published", int(label), [split, n])

    def load(self, item: Item) -> Loaded:
        split, n = item.reference
        pixels: npt.NDArray[np.uint8] = self._set(split).data[n]
        return pixels

    def _set(self, split: str) -> Any:
        if split not in self._sets:
            from torchvision.datasets import CIFAR10

            try:  # torchvision checks every file's published hash before it opens any
                self._sets[split] = CIFAR10(str(self._root), train=split == "train")
            except Exception as error:
                raise UserError(
                    f"{self._root}/cifar-10-batches-py is not whole, or not as published: unpack "
                    "cifar-10-python.tar.gz again"
                ) from error
        return self._sets[split]


class Stl10(Source):
    """STL-10, 96x96 pixels: "train" has all 105,000 unlabelled and labelled training images,
    without labels; "test" has 8,000, and "labelled" the 5,000 labelled training images.

    Raises:
        UserError: a file is missing or cut off, or has invalid labels.
    """

    splits = ("train", "test", "labelled")

    def __init__(self, uri: str, root: Path, _: str) -> None:
        self.uri, self.name, self._folder = uri, "stl10", root / "stl10_binary"
        self.classes = list(_STL10_CLASSES)
        self._counts = {file: self._count(file) for file in _STL10_PUBLISHED}
        self._labels = {file: self._labels_of(file) for file in ("train", "test")}
        self.notes = [
            f"{file}_X.bin has {self._counts[file]:,} images where {published:,} are published"
            for file, published in _STL10_PUBLISHED.items()
            if self._counts[file] != published
        ]

    def items(self, split: str) -> Iterator[Item]:
        for file in _STL10_FILES[split]:
            labels = None if split == "train" else self._labels[file]
            for n in range(self._counts[file]):
                label = None if labels is None else int(labels[n])
                yield Item(f"{split}-{file}-{n:06d}", "published", label, [file, n])

    def load(self, item: Item) -> Loaded:
        file, n = item.reference
        with (self._folder / f"{file}_X.bin").open("rb") as stream:
            stream.seek(n * _STL10_BYTES)
            body = stream.read(_STL10_BYTES)
        if len(body) != _STL10_BYTES:
            raise BadImage(f"{file}_X.bin is cut off")
        # Stored by channel, then by column.
        pixels: npt.NDArray[np.uint8] = np.frombuffer(body, np.uint8).reshape(3, 96, 96)
        return pixels.transpose(2, 1, 0)

    def _count(self, file: str) -> int:
        path = self._folder / f"{file}_X.bin"
        count, rest = divmod(size_of(path), _STL10_BYTES)
        if rest or not count:
            raise UserError(f"{path} is cut off: unpack stl10_binary.tar.gz again")
        return count

    def _labels_of(self, file: str) -> npt.NDArray[np.int64]:
        path = self._folder / f"{file}_y.bin"
        size_of(path)
        labels = np.fromfile(path, np.uint8).astype(np.int64)
        if len(labels) != self._counts[file]:
            raise UserError(
                f"{path} has {len(labels):,} labels for {self._counts[file]:,} images: unpack "
                "stl10_binary.tar.gz again"
            )
        wrong = labels[(labels < 1) | (labels > len(_STL10_CLASSES))]
        if len(wrong):
            raise UserError(f"{path} has the label {wrong[0]}: STL-10's go from 1 to 10")
        return labels - 1
