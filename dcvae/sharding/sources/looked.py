"""Sources whose contents are known only after looking through them.

If they have no splits of their own, a fraction is held out for testing: the images whose names have
the lowest hashes, so that the choice does not depend on the order or the machine.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from dcvae.errors import UserError
from dcvae.sharding.sources.base import Item, Source


class Found(Protocol):
    """What looking through a source has found."""

    splits: tuple[str, ...]
    classes: list[str] | None
    notes: list[str]

    def items(self, split: str) -> Iterator[Item]: ...


FoundT = TypeVar("FoundT", bound=Found)


class LookedThrough(Source, Generic[FoundT]):
    """Looks once, when first asked; a copy in another process looks for itself."""

    _found: FoundT | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_found": None}

    @abstractmethod
    def look(self) -> FoundT:
        """Look through the whole source."""

    @property
    def found(self) -> FoundT:
        """What has been found."""
        if self._found is None:
            self._found = self.look()
        return self._found

    @property
    def splits(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.found.splits

    @property
    def classes(self) -> list[str] | None:  # type: ignore[override]
        return self.found.classes

    @property
    def notes(self) -> list[str]:  # type: ignore[override]
        return self.found.notes

    def items(self, split: str) -> Iterator[Item]:
        return self.found.items(split)


def held_out(uri: str, hashes: npt.NDArray[np.uint64], test: float) -> tuple[int, str]:
    """(the lowest hash of the images that are not held out, a note on how many are).

    The note is empty if none are.

    Raises:
        UserError: ``test`` is not a fraction or number of images, or leaves none to train on.
    """
    if not math.isfinite(test) or test < 0 or (test >= 1 and test != int(test)):
        raise UserError(f"test is {test:g}: give a fraction below 1 or a number of images")
    if test == 0:
        return 0, ""
    count = max(1, round(test * len(hashes))) if test < 1 else int(test)
    if count >= len(hashes):
        raise UserError(
            f"{uri} has {len(hashes)} images: {count} cannot be held out for testing; use more "
            "images, fewer for testing, or folders train/ and test/"
        )
    note = f"{count:,} of {len(hashes):,} images are held out for testing"
    return int(np.partition(hashes, count)[count]), note
