"""Published data sets, downloaded and verified by torchvision and then read lazily by us.

They are in ``$DCVAE_SOURCES`` (default ``~/.cache/dcvae/sources``), in torchvision's layout.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dcvae.environment import SOURCES
from dcvae.errors import UserError
from dcvae.sharding.sources.arrays import Idx
from dcvae.sharding.sources.base import Source
from dcvae.sharding.sources.binaries import Cifar10, Stl10
from dcvae.sharding.sources.celeba import LISTS, CelebA
from dcvae.sharding.sources.lsun import Lsun


class Published(NamedTuple):
    """How to open a data set, and which files to put where if it cannot be downloaded."""

    open: Callable[[str, Path, str], Source]
    there: Callable[[Path], bool]
    download: Callable[[Path], object]
    files: str


def sources_folder() -> Path:
    """Where published data sets are kept."""
    told = os.environ.get(SOURCES)
    if told:
        return Path(told)
    try:
        return Path.home() / ".cache" / "dcvae" / "sources"
    except RuntimeError:
        raise UserError(f"there is no home folder: set {SOURCES} to a folder") from None


def open_published(uri: str, name: str) -> Source:
    """Open ``torchvision:NAME``, downloading it first if it is not there.

    Raises:
        UserError: unknown name, or no network; the message then says which files to put where.
    """
    key, _, category = name.partition("/")
    if key not in _PUBLISHED or bool(category) != (key == "LSUN"):
        known = ", ".join(n if n != "LSUN" else "LSUN/bedroom" for n in _PUBLISHED)
        raise UserError(f"{uri} is no known source: torchvision: takes one of {known}")
    published, root = _PUBLISHED[key], sources_folder()
    if not published.there(root):
        try:
            published.download(root)
        except Exception as error:  # torchvision raises whatever its downloaders raise
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{uri} is not in {root} and cannot be downloaded ({reason}): put "
                f"{published.files} there, or set {SOURCES} to the folder that has it"
            ) from error
    return published.open(uri, root, category)


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
        lambda root: (
            any((root / "celeba" / name).is_file() for name in LISTS)
            and (root / "celeba/img_align_celeba").is_dir()
        ),
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
