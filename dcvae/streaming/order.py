"""The order of samples: a pure function of (seed, epoch).

Epoch *e* permutes the shards, and the samples within each shard. The resulting sequence of N
samples is divided into L contiguous lanes whose lengths differ by at most one (longer first), and
position *p* of the epoch is element ``p // L`` of lane ``p % L``. So neighbouring positions come
from L shards that are far apart, while each lane reads its shards one after the other.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dcvae.shards.reader import Integers


def permutation(n: int, *entropy: int) -> Integers:
    """A permutation of range(n), from raw bits: all that numpy promises never to change."""
    bits = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(n)
    return np.argsort(bits, kind="stable").astype(np.int64)


@dataclass(frozen=True)
class Place:
    """Where a batch's samples are; all fields are int64 [n].

    ``lanes``; ``shards``: numbers of the shards; ``samples``: numbers within the shards; ``slots``:
    places of the shards in their epoch's sequence; ``epochs``.
    """

    lanes: Integers
    shards: Integers
    samples: Integers
    slots: Integers
    epochs: Integers


class Order:
    """The endless sequence of samples.

    Args:
        sizes: number of samples of each shard.
        seed: any non-negative number.
        lanes: L, the number of lanes.
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
        """The shard that the lane needs after the one in ``slot``, perhaps in the next epoch."""
        permuted, ends = self._epoch(epoch)
        if ends[slot] < self._lane_starts[lane + 1]:
            return int(permuted[slot + 1])
        permuted, ends = self._epoch(epoch + 1)
        return int(permuted[np.searchsorted(ends, self._lane_starts[lane], side="right")])

    def _shards_of_epoch(self, epoch: int) -> tuple[Integers, Integers]:
        """(shards in order, end of each in the sequence of the epoch's samples)."""
        permuted = permutation(len(self.sizes), self.seed, epoch, 0)
        return permuted, np.cumsum(self.sizes[permuted])

    def _samples_of_shard(self, epoch: int, shard: int) -> Integers:
        return permutation(int(self.sizes[shard]), self.seed, epoch, 1, shard)
