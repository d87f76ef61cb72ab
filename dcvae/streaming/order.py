"""The order of samples: a pure function of (seed, epoch).

Epoch *e* permutes the shards, and the samples within each shard. The concatenated sequence of N
samples is cut into L contiguous lanes whose lengths differ by at most one (longer first), and
position *p* of the epoch is element ``p // L`` of lane ``p % L``. Neighbouring positions thus come
from L far-apart shards, while each lane reads its shards one after the other.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dcvae.shards.reader import Integers


def permutation(n: int, *entropy: int) -> Integers:
    """A permutation of range(n). Uses only what numpy promises never to change: raw bits."""
    bits = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(n)
    return np.argsort(bits, kind="stable").astype(np.int64)


@dataclass(frozen=True)
class Place:
    """Where a batch's samples are: int64 [n] each.

    ``lanes``; ``shards``: number of the shard; ``samples``: number within the shard; ``slots``:
    place of the shard in its epoch's sequence; ``epochs``.
    """

    lanes: Integers
    shards: Integers
    samples: Integers
    slots: Integers
    epochs: Integers


class Order:
    """The endless sequence of samples.

    Args:
        sizes: samples of each shard.
        seed: any non-negative number.
        lanes: L.
    """

    def __init__(self, sizes: list[int], seed: int, lanes: int) -> None:
        self.sizes = np.array(sizes, np.int64)
        self.total = int(self.sizes.sum())
        self.seed, self.lanes = seed, lanes
        short, longer = divmod(self.total, lanes)
        numbers = np.arange(lanes + 1)
        self._lane_starts = (numbers * short + np.minimum(numbers, longer)).astype(np.int64)
        self._epoch = lru_cache(maxsize=4)(self._shards_of_epoch)
        self._within = lru_cache(maxsize=8 * lanes)(self._samples_of_shard)

    def batch(self, position: int, size: int) -> Place:
        """The samples at the global positions [position, position + size), sorted by lane."""
        positions = np.arange(position, position + size, dtype=np.int64)
        epochs, inner = np.divmod(positions, self.total)
        lanes = inner % self.lanes
        by_lane = np.argsort(lanes, kind="stable")
        epochs, inner, lanes = epochs[by_lane], inner[by_lane], lanes[by_lane]
        sequence = self._lane_starts[lanes] + inner // self.lanes
        shards, samples, slots = (np.empty(size, np.int64) for _ in range(3))
        for epoch in np.unique(epochs):
            here = epochs == epoch
            permuted, ends = self._epoch(int(epoch))
            slots[here] = np.searchsorted(ends, sequence[here], side="right")
            shards[here] = permuted[slots[here]]
            samples[here] = sequence[here] - (ends - self.sizes[permuted])[slots[here]]
        for epoch, shard in set(zip(epochs.tolist(), shards.tolist(), strict=True)):
            here = (epochs == epoch) & (shards == shard)
            samples[here] = self._within(epoch, shard)[samples[here]]
        return Place(lanes, shards, samples, slots, epochs)

    def next_shard(self, lane: int, epoch: int, slot: int) -> int:
        """The shard that the lane needs after the one in ``slot``, be it in the next epoch."""
        permuted, ends = self._epoch(epoch)
        if ends[slot] < self._lane_starts[lane + 1]:
            return int(permuted[slot + 1])
        permuted, ends = self._epoch(epoch + 1)
        return int(permuted[np.searchsorted(ends, self._lane_starts[lane], side="right")])

    def _shards_of_epoch(self, epoch: int) -> tuple[Integers, Integers]:
        """(shards in their order, end of each in the sequence of the epoch's samples)."""
        permuted = permutation(len(self.sizes), self.seed, epoch, 0)
        return permuted, np.cumsum(self.sizes[permuted])

    def _samples_of_shard(self, epoch: int, shard: int) -> Integers:
        return permutation(int(self.sizes[shard]), self.seed, epoch, 1, shard)
