"""Sources whose images are already decoded arrays: digits, IDX files."""

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcvae.errors import UserError
from dcvae.sharding.sources.base import Item, Loaded, Source

_HOLD_OUT = 5  # every fifth digit is held out for testing
_IDX_SPLITS = {"train": ("train",), "test": ("t10k", "test")}
_UINT8 = 8
_MOST_UNZIPPED = 8 << 30
_DAMAGES = (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error)


class Digits(Source):
    """scikit-learn's 1,797 handwritten digits, 8x8 pixels in 17 greys; every fifth is held out."""

    def __init__(self, uri: str) -> None:
        self.uri, self.name, self.channels = uri, "digits", 1
        self.classes = [str(digit) for digit in range(10)]
        self._arrays: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]] | None = None

    def items(self, split: str) -> Iterator[Item]:
        images, labels = self._load()
        for n in range(len(images)):
            if (n % _HOLD_OUT == _HOLD_OUT - 1) == (split == "test"):
                yield Item(f"{n:04d}", _hash(images[n]), int(labels[n]), n)

    def load(self, item: Item) -> Loaded:
        pixels: npt.NDArray[np.uint8] = self._load()[0][item.reference]
        return pixels

    def _load(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        if self._arrays is None:
            try:
                from sklearn.datasets import load_digits
            except ImportError:
                raise UserError(
                    "sklearn:digits needs scikit-learn: install dcvae[evaluation]"
                ) from None
            digits = load_digits()
            greys = np.round(digits.images * 255 / 16).astype(np.uint8)
            self._arrays = greys, digits.target.astype(np.int64)
        return self._arrays


class Idx(Source):
    """A folder of IDX files: ``train-images-idx3-ubyte`` and so on, plain or gzipped."""

    def __init__(self, uri: str, folder: Path, name: str | None = None) -> None:
        self.uri, self._folder = uri, folder
        self.name, self.channels = name or folder.name, 1
        self.splits = tuple(split for split in _IDX_SPLITS if self._find(split, "images-idx3"))
        if not self.splits:
            raise UserError(f"{folder} has no IDX images such as train-images-idx3-ubyte[.gz]")
        labelled = [split for split in self.splits if self._find(split, "labels-idx1")]
        if labelled and len(labelled) < len(self.splits):
            (there,) = labelled
            raise UserError(
                f"{folder} has labels for {there} but not for the other split: put "
                f"{_IDX_SPLITS['test' if there == 'train' else 'train'][0]}-labels-idx1-ubyte "
                "there, or take the labels away to shard without"
            )
        self._arrays: dict[str, Any] = {}
        self._labels = {s: self._read(s, "labels-idx1", 1) for s in self.splits} if labelled else {}
        if labelled:
            most = max(int(labels.max(initial=0)) for labels in self._labels.values())
            self.classes = [str(label) for label in range(most + 1)]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_arrays": {}}

    def items(self, split: str) -> Iterator[Item]:
        images, labels = self._images(split), self._labels.get(split)
        if labels is not None and len(labels) != len(images):
            raise UserError(f"{self._folder} has {len(images)} images but {len(labels)} labels")
        for n in range(len(images)):
            label = None if labels is None else int(labels[n])
            yield Item(f"{split}-{n:07d}", _hash(images[n]), label, [split, n])

    def load(self, item: Item) -> Loaded:
        split, n = item.reference
        return np.asarray(self._images(split)[n])

    def _images(self, split: str) -> npt.NDArray[np.uint8]:
        if split not in self._arrays:
            self._arrays[split] = self._read(split, "images-idx3", 3)
        found: npt.NDArray[np.uint8] = self._arrays[split]
        return found

    def _find(self, split: str, kind: str) -> Path | None:
        for prefix in _IDX_SPLITS[split]:
            for suffix in ("", ".gz"):
                path = self._folder / f"{prefix}-{kind}-ubyte{suffix}"
                if path.is_file():
                    return path
        return None

    def _read(self, split: str, kind: str, axes: int) -> npt.NDArray[np.uint8]:
        """Map or unzip a file of unsigned bytes with ``axes`` axes, after its big-endian sizes."""
        path = self._find(split, kind)
        assert path is not None
        start = 4 + 4 * axes
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
                head = stream.read(start)
                shape = [int.from_bytes(head[4 + 4 * n : 8 + 4 * n], "big") for n in range(axes)]
                size = math.prod(shape)
                if head[:4] != bytes([0, 0, _UINT8, axes]) or len(head) != start or not size:
                    raise UserError(f"{path} is not an IDX file of bytes with {axes} axes")
                if path.suffix == ".gz":
                    if size > _MOST_UNZIPPED:
                        raise UserError(f"{path} says it has {size:,} bytes: unzip it first")
                    body = np.frombuffer(stream.read(size + 1), np.uint8)
                else:
                    body = np.memmap(path, np.uint8, "r", offset=start)
        except _DAMAGES as error:
            raise UserError(f"{path} cannot be read: {error}") from error
        if len(body) != size:
            raise UserError(f"{path} is cut off or too long: its header says {size} bytes")
        return body.reshape(shape)


def _hash(image: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16]
