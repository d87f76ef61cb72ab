"""The images that a model is measured on: a fixed random choice from a split, as a stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dcvae.evaluation.ahead import size
from dcvae.shards.manifest import Manifest
from dcvae.storage import Storage
from dcvae.streaming.stream import read_split


class Drawn(NamedTuple):
    """A batch of real images."""

    images: Tensor
    """uint8 ``(n, C, r, r)``."""
    labels: Tensor | None
    """int64 ``(n,)``; None without labels."""
    kept: Tensor
    """Which of them belong to the smaller choice, bool ``(n,)``."""


@dataclass(frozen=True)
class RealImages:
    """A shard set at one resolution."""

    storage: Storage
    manifest: Manifest
    resolution: int
    batch_size: int

    def size(self, split: str) -> int:
        """Number of images of a split; 0 if there is no such split."""
        return size(self.manifest, split)

    def count(self, split: str, wanted: int | None) -> int:
        """How many images a choice of ``wanted`` (None: all) has: at most those of the split."""
        total = self.size(split)
        return total if wanted is None else min(wanted, total)

    def drawn(
        self, split: str, wanted: int | None, seed: int, skip: int = 0, keep: int = 0
    ) -> Iterator[Drawn]:
        """Batches of a choice without repetition, in the split's order.

        A smaller choice is part of a larger one with the same seed. Only shards with chosen images
        are fetched, and only chosen images are decoded.

        Args:
            skip: how many images of the choice to skip, a multiple of the batch size; for resuming.
            keep: size of the smaller choice that is marked in each batch.
        """
        total = self.size(split)
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
        chosen = order[: self.count(split, wanted)].sort().values
        smaller = torch.zeros(total, dtype=torch.bool)
        smaller[order[: min(keep, len(chosen))]] = True
        rest = chosen[skip:]
        batches = read_split(
            self.storage, self.manifest, split, self.resolution, self.batch_size, rest.numpy()
        )
        for batch, numbers in zip(batches, torch.split(rest, self.batch_size), strict=True):
            yield Drawn(batch.images, batch.labels, smaller[numbers])
