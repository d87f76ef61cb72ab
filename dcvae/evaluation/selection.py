"""The images that a model is measured on: a fixed random choice from a split, as a stream."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dcvae.shards.manifest import Manifest
from dcvae.storage import Storage
from dcvae.streaming.stream import read_split


@dataclass(frozen=True)
class Selection:
    """A shard set at one resolution."""

    storage: Storage
    manifest: Manifest
    resolution: int
    batch_size: int

    def count(self, split: str, wanted: int | None) -> int:
        """How many images a choice of ``wanted`` has: no more than the split."""
        size = self.manifest.samples(split)
        return size if wanted is None else min(wanted, size)

    def choice(
        self, split: str, wanted: int | None, seed: int
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Batches of a choice without repetition, in the split's order.

        Smaller choices of one seed are parts of larger ones. Only shards that hold a chosen image
        are fetched, and only chosen images are decoded.

        Yields:
            uint8 ``(n, C, r, r)`` and int64 labels ``(n,)``, or None without labels.
        """
        size = self.manifest.samples(split)
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
        chosen = order[: self.count(split, wanted)].sort().values.numpy()
        for batch in read_split(
            self.storage, self.manifest, split, self.resolution, self.batch_size, chosen
        ):
            yield batch.images, batch.labels
