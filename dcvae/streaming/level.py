"""One level of a shard set: the images of one split at one resolution."""

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch

from dcvae.errors import UserError
from dcvae.shards.manifest import Manifest
from dcvae.shards.reader import Integers, Samples, read_shard
from dcvae.shards.tar import BadShard
from dcvae.storage import Storage
from dcvae.streaming.cache import ShardCache

_PIECE = 4  # compressed images that one thread decodes at a time


@dataclass(frozen=True)
class Batch:
    """One rank's part of a global batch.

    images: uint8 [n, C, H, W], contiguous, 0-255. indices: int64 [n], each sample's number in its
    split. labels: int64 [n], or None if the set has none. position: global position of the global
    batch's first sample.
    """

    images: torch.Tensor
    indices: torch.Tensor
    labels: torch.Tensor | None
    position: int


class Level:
    """The shards of one split at one resolution, and how to read them."""

    def __init__(
        self,
        storage: Storage,
        manifest: Manifest,
        split: str,
        resolution: int,
        cache: ShardCache | None = None,
    ) -> None:
        self.storage, self.cache = storage, cache
        self.shards = manifest.shards(split, resolution)
        if not self.shards:
            raise UserError(f"the split {split} of {storage.uri} is empty: it has no images")
        self.sizes = [shard.samples for shard in self.shards]
        self.firsts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)
        self.encoding = manifest.encoding[str(resolution)]
        self.shape = (resolution, resolution, manifest.channels)

    def read(self, number: int) -> Samples:
        """Fetch shard ``number``, or find it in the cache."""
        shard = self.shards[number]
        return read_shard(self.storage, shard, self.encoding, self.shape, self.cache)

    def collate(
        self,
        numbers: Integers,
        samples: Integers,
        ready: dict[int, Samples],
        position: int,
        decoders: Executor | None = None,
    ) -> Batch:
        """The batch of samples ``samples[i]`` of shards ``numbers[i]``; all must be ``ready``.

        Compressed images are decoded by ``decoders``; threads suffice, since the decoder releases
        the interpreter's lock.
        """
        height, width, channels = self.shape
        images = np.empty((len(numbers), channels, height, width), np.uint8)
        labels = np.empty(len(numbers), np.int64)
        labelled = True
        pieces: list[tuple[int, Integers]] = []
        # Runs of one shard: samples are sorted by lane, and a lane rarely changes shards.
        edges = np.flatnonzero(np.diff(numbers)) + 1
        for run in np.split(np.arange(len(numbers)), edges):
            number = int(numbers[run[0]])
            there = ready[number].labels
            if there is None:
                labelled = False
            else:
                labels[run] = there[samples[run]]
            small = [run] if self.encoding == "npy" else _cut(run, _PIECE)
            pieces += [(number, rows) for rows in small]

        def gather(piece: tuple[int, Integers]) -> None:
            number, rows = piece
            pixels = np.empty((len(rows), *self.shape), np.uint8)
            try:
                ready[number].gather(samples[rows], pixels)
            except BadShard as error:
                uri = f"{self.storage.uri}/{self.shards[number].key}"
                raise UserError(f"the shard {uri} is bad: {error}") from error
            # numpy moves the channels four times as fast as torch.
            images[rows[0] : rows[-1] + 1] = pixels.transpose(0, 3, 1, 2)

        each = map if decoders is None or self.encoding == "npy" else decoders.map
        for _ in each(gather, pieces):
            pass  # raises the first error
        return Batch(
            torch.from_numpy(images),
            torch.from_numpy(self.firsts[numbers] + samples),
            torch.from_numpy(labels) if labelled else None,
            position,
        )


def _cut(rows: Integers, length: int) -> list[Integers]:
    return [rows[at : at + length] for at in range(0, len(rows), length)]
