"""Random numbers that depend only on (seed, images seen, purpose) and the row of the global batch.

They are drawn for the global batch and divided into shares, so a run's result is the same for any
number of ranks and micro-batches, and resuming needs no random state.
"""

import hashlib

import torch
from torch import Tensor


def seeded(seed: int, images: int, purpose: str) -> torch.Generator:
    """The CPU random generator for ``purpose`` in the step after ``images`` images."""
    digest = hashlib.sha256(f"{seed}/{images}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def whole_numbers(below: int, count: int, seed: int, images: int, purpose: str) -> list[int]:
    """``count`` whole numbers in [0, below), equal on every rank."""
    drawn: list[int] = torch.randint(
        below, (count,), generator=seeded(seed, images, purpose)
    ).tolist()
    return drawn


class Rows:
    """Some rows of a global batch, and their random numbers."""

    def __init__(self, seed: int, images: int, total: int, first: int, count: int) -> None:
        """Rows ``first`` to ``first + count`` of ``total``, in the step after ``images`` images."""
        self.seed, self.images, self.total = seed, images, total
        self.first, self.count = first, count

    def normal(self, purpose: str, dimensions: int, ratio: int = 1) -> Tensor:
        """Standard normal float32 [count · ratio, dimensions], on the CPU."""
        shape = (self.total * ratio, dimensions)
        drawn = torch.randn(shape, generator=seeded(self.seed, self.images, purpose))
        return drawn[self.first * ratio : (self.first + self.count) * ratio]

    def uniform(self, purpose: str, dimensions: int | None = None, ratio: int = 1) -> Tensor:
        """Uniform float32 in [0, 1), [count · ratio, dimensions] or [count · ratio], on the CPU."""
        shape = (self.total * ratio, *([] if dimensions is None else [dimensions]))
        drawn = torch.rand(shape, generator=seeded(self.seed, self.images, purpose))
        return drawn[self.first * ratio : (self.first + self.count) * ratio]
