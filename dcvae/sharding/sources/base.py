"""The interface of every source of images."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Loaded = bytes | npt.NDArray[np.uint8]


class Item(NamedTuple):
    """One image of a source, not yet read.

    Attributes:
        name: unique within the source, UTF-8, and the same every time.
        stamp: changes when the content does (size and time, a checksum, an etag).
        label: number of the class, or None.
        reference: what the source needs to load it: texts, numbers and lists of them.
        bad: why it cannot be used, if that is known without reading it.
        size: in bytes, if known.
        place: position in the source's order, from 1.
    """

    name: str
    stamp: str
    label: int | None
    reference: Any = None
    bad: str = ""
    size: int = 0
    place: int = 0


class Source(ABC):
    """Ordered images that are read one at a time. It can be pickled, and opens files on demand.

    Attributes:
        uri: as the user named it.
        name: of the data set.
        channels: 1 or 3, unless the user chooses.
        splits: names, "train" first.
        classes: names of the classes, or None without labels.
        ordered: whether loading is cheap only in the order of the items.
        notes: how it was interpreted, for people.
        ignored: (kind, how many, example) of what was left out.
    """

    uri: str
    name: str
    channels: int = 3
    splits: tuple[str, ...] = ("train", "test")
    classes: list[str] | None = None
    ordered: bool = False
    notes: Sequence[str] = ()
    ignored: Sequence[tuple[str, int, str]] = ()

    @abstractmethod
    def items(self, split: str) -> Iterator[Item]:
        """The images of one split, lazily, in the order in which they are cheapest to load."""

    @abstractmethod
    def load(self, item: Item) -> Loaded:
        """The image file's bytes, or decoded pixels: uint8 [H, W] or [H, W, C].

        Raises:
            BadImage: this image cannot be read; others may still be.
        """


def name_hash(name: str) -> int:
    """A number below 2**64 that depends only on the name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
