"""Published data sets. torchvision downloads and verifies them; the files are read lazily here.

They lie in ``$DCVAE_SOURCES`` (by default ``~/.cache/dcvae/sources``), in torchvision's layout.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dcvae.environment import SOURCES
from dcvae.errors import UserError
from dcvae.sharding.sources.arrays import Idx
from dcvae.sharding.sources.base import Item, Loaded, Source
from dcvae.shards.encodings import BadImage

_STL10_BYTES = 3 * 96 * 96
_STL10_CLASSES = [
    *("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
]
_STL10_FILES = {"train": ("unlabeled", "train"), "test": ("test",), "labelled": ("train",)}
_LSUN_FILES = {"train": "train", "test": "val"}
_CELEBA_SPLITS = {"train": "0", "test": "2"}  # 1 is for validation, which the paper leaves out


class Published(NamedTuple):
    """How to open one data set, and what to put where when it cannot be downloaded."""

    open: Callable[[str, Path, str], Source]
    there: Callable[[Path], bool]
    download: Callable[[Path], object]
    files: str


def sources_folder() -> Path:
    """Where published data sets are kept."""
    default = Path.home() / ".cache" / "dcvae" / "sources"
    return Path(os.environ.get(SOURCES) or default)


def open_published(uri: str, name: str) -> Source:
    """Open ``torchvision:NAME``, downloading it first when it is not there.

    Raises:
        UserError: an unknown name, or no network; then it says which files to put where.
    """
    key, _, category = name.partition("/")
    if key not in _PUBLISHED or bool(category) != (key == "LSUN"):
        known = ", ".join(n if n != "LSUN" else "LSUN/bedroom" for n in _PUBLISHED)
        raise UserError(f"{uri} is no known source: torchvision: takes one of {known}")
    published, root = _PUBLISHED[key], sources_folder()
    if not published.there(root):
        try:
            published.download(root)
        except Exception as error:  # torchvision raises whatever its downloaders do
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{uri} is not in {root} and cannot be downloaded ({reason}): put "
                f"{published.files} there, or set {SOURCES} to the folder that has it"
            ) from error
    return published.open(uri, root, category)


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
            yield Item(f"{split}-{n:05d}", "published", int(label), (split, n))

    def load(self, item: Item) -> Loaded:
        split, n = item.reference
        pixels: npt.NDArray[np.uint8] = self._set(split).data[n]
        return pixels

    def _set(self, split: str) -> Any:
        if split not in self._sets:
            from torchvision.datasets import CIFAR10

            self._sets[split] = CIFAR10(str(self._root), train=split == "train")
        return self._sets[split]


class Stl10(Source):
    """STL-10, 96x96 pixels: "train" is all 105,000 unlabelled and labelled training images
    without labels; "test" has 8,000 and "labelled" the 5,000 labelled training images."""

    splits = ("train", "test", "labelled")

    def __init__(self, uri: str, root: Path, _: str) -> None:
        self.uri, self.name, self._folder = uri, "stl10", root / "stl10_binary"
        self.classes = list(_STL10_CLASSES)

    def items(self, split: str) -> Iterator[Item]:
        for file in _STL10_FILES[split]:
            count = (self._folder / f"{file}_X.bin").stat().st_size // _STL10_BYTES
            labels = None
            if split != "train":
                labels = np.fromfile(self._folder / f"{file}_y.bin", np.uint8) - 1
            for n in range(count):
                label = None if labels is None else int(labels[n])
                yield Item(f"{split}-{file}-{n:06d}", "published", label, (file, n))

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


class CelebA(Source):
    """CelebA, aligned: 162,770 images for training and 19,962 for testing, 178x218 pixels."""

    def __init__(self, uri: str, root: Path, _: str) -> None:
        self.uri, self.name, self._folder = uri, "celeba", root / "celeba"

    def items(self, split: str) -> Iterator[Item]:
        with (self._folder / "list_eval_partition.txt").open() as lines:
            for line in lines:
                name, _, part = line.strip().partition(" ")
                if part.strip() == _CELEBA_SPLITS[split]:
                    yield Item(name, "published", None, name)

    def load(self, item: Item) -> Loaded:
        try:
            return (self._folder / "img_align_celeba" / Path(item.name).name).read_bytes()
        except OSError as error:
            raise BadImage(f"unreadable ({error.strerror})") from error


class Lsun(Source):
    """One category of LSUN from its LMDB folders; the published validation images are "test"."""

    def __init__(self, uri: str, root: Path, category: str) -> None:
        self.uri, self._root, self._category = uri, root, Path(category).name
        self.name = f"lsun_{self._category}"
        self._opened: dict[str, Any] = {}
        missing = [str(path) for path in map(self._path, self.splits) if not path.is_dir()]
        if missing:
            raise UserError(f"{uri} is not there: unpack LSUN's LMDB folder to {missing[0]}")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": {}}

    def items(self, split: str) -> Iterator[Item]:
        with self._open(split).begin(buffers=False) as transaction:
            for key in transaction.cursor().iternext(values=False):
                text = key.decode("ascii")
                yield Item(f"{split}-{text}", "published", None, (split, text))

    def load(self, item: Item) -> Loaded:
        split, key = item.reference
        with self._open(split).begin(buffers=False) as transaction:
            body = transaction.get(key.encode())
        if body is None:
            raise BadImage("gone")
        return bytes(body)

    def _path(self, split: str) -> Path:
        return self._root / f"{self._category}_{_LSUN_FILES[split]}_lmdb"

    def _open(self, split: str) -> Any:
        if split not in self._opened:
            import lmdb

            self._opened[split] = lmdb.open(
                str(self._path(split)), readonly=True, lock=False, readahead=False
            )
        return self._opened[split]


def _idx(name: str, folder: str) -> Callable[[str, Path, str], Source]:
    return lambda uri, root, _: Idx(uri, root / folder / "raw", name)


def _torchvision(name: str, **options: Any) -> Callable[[Path], object]:
    def download(root: Path) -> object:
        from torchvision import datasets

        root.mkdir(parents=True, exist_ok=True)
        return getattr(datasets, name)(str(root), download=True, **options)

    return download


def _has(*paths: str) -> Callable[[Path], bool]:
    return lambda root: all((root / path).exists() for path in paths)


_PUBLISHED = {
    "CIFAR10": Published(
        Cifar10,
        _has("cifar-10-batches-py/test_batch"),
        _torchvision("CIFAR10"),
        "the unpacked folder cifar-10-batches-py",
    ),
    "STL10": Published(
        Stl10,
        _has("stl10_binary/unlabeled_X.bin", "stl10_binary/test_X.bin"),
        _torchvision("STL10", split="test"),
        "the unpacked folder stl10_binary",
    ),
    "CelebA": Published(
        CelebA,
        _has("celeba/list_eval_partition.txt", "celeba/img_align_celeba"),
        _torchvision("CelebA"),
        "celeba/list_eval_partition.txt and the unpacked folder celeba/img_align_celeba",
    ),
    "LSUN": Published(Lsun, lambda _: True, lambda _: None, ""),
    "MNIST": Published(
        _idx("mnist", "MNIST"),
        _has("MNIST/raw/train-images-idx3-ubyte"),
        _torchvision("MNIST"),
        "MNIST/raw/train-images-idx3-ubyte, train-labels-idx1-ubyte and the t10k files",
    ),
    "FashionMNIST": Published(
        _idx("fashion_mnist", "FashionMNIST"),
        _has("FashionMNIST/raw/train-images-idx3-ubyte"),
        _torchvision("FashionMNIST"),
        "FashionMNIST/raw/train-images-idx3-ubyte, train-labels-idx1-ubyte and the t10k files",
    ),
}
