"""A rank's images, from the shard set to its device: the micro-batches that a step is made on."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from dcvae.config import Config
from dcvae.run_folder import RunFolder
from dcvae.streaming.cache import ShardCache
from dcvae.streaming.stream import Batch, Stream, read_split
from dcvae.training import ranks
from dcvae.training.device import layout
from dcvae.training.inputs import to_model
from dcvae.training.randomness import Rows
from dcvae.training.samples import INPUTS
from dcvae.training.schedule import Stage
from dcvae.training.step import MicroBatch
from dcvae.training.transfer import Arrivals


class Feed:
    """Reads one phase after the other; each has a stream of its own resolution and batch size."""

    def __init__(self, config: Config, folder: RunFolder, device: torch.device) -> None:
        self.config, self.folder, self.device = config, folder, device
        self.layout = layout(device, config)
        self.phase = -1  # whose images the stream has
        self.stream: Stream | None = None
        self.arrivals: Arrivals[tuple[Batch, Rows]]
        self._waited = 0.0  # by this stream, as far as it has been told

    def enter(self, stage: Stage, images: int) -> None:
        """Read images for ``stage`` from now on, beginning after the first ``images``."""
        if self.phase == stage.index:
            return
        self.close()
        training, data = self.config.training, self.config.data
        self.phase, self._waited = stage.index, 0.0
        self.stream = Stream(
            self.folder.shards,
            self.folder.manifest,
            split=data.split,
            resolution=stage.phase.resolution,
            seed=training.seed,
            lanes=data.lanes,
            workers=data.workers,
            cache=ShardCache(Path(data.cache_dir), data.cache_bytes) if data.cache_dir else None,
        )
        share = stage.phase.batch_size // training.accumulation
        batches = self.stream.batches(images, share, ranks.rank(), ranks.world_size())
        self.arrivals = Arrivals(self._with_rows(batches, stage), self._host_tensors, self.device)

    def take(self, stage: Stage) -> list[MicroBatch]:
        """This rank's micro-batches of the next global batch."""
        return [
            MicroBatch(self._to_model(images, stage, *flips), rows)
            for (_, rows), (images, *flips) in self.arrivals.take(self.config.training.accumulation)
        ]

    def read_ahead(self) -> None:
        """Start reading the next step's images while a GPU still computes this one."""
        if self.device.type == "cuda":
            self.arrivals.fetch(self.config.batches_per_step * self.config.training.accumulation)

    def waited(self) -> float:
        """Seconds spent waiting for images since this was last asked."""
        assert self.stream is not None
        before, self._waited = self._waited, self.stream.wait_seconds
        return self._waited - before

    def held_out(self, stage: Stage) -> Tensor:
        """The same few images every time, [INPUTS, C, r, r]: of the test split, if there is one."""
        shards, manifest = self.folder.shards, self.folder.manifest
        split = "test" if "test" in manifest.splits else self.config.data.split
        batch = next(read_split(shards, manifest, split, stage.phase.resolution, INPUTS))
        return self._to_model(batch.images, stage)

    def close(self) -> None:
        """End the stream's threads."""
        if self.stream is not None:
            self.stream.close()

    def _with_rows(self, batches: Iterator[Batch], stage: Stage) -> Iterator[tuple[Batch, Rows]]:
        """This rank's micro-batches, each with the rows of the global batch that it holds."""
        total, seed = stage.phase.batch_size, self.config.training.seed
        firsts = itertools.cycle(range(0, total, total // self.config.training.accumulation))
        for batch, first in zip(batches, firsts, strict=False):
            count = len(batch.images)
            own = first + ranks.rank() * count
            yield batch, Rows(seed, batch.position - first, total, own, count)

    def _host_tensors(self, arrived: tuple[Batch, Rows]) -> list[Tensor]:
        batch, rows = arrived
        return [batch.images, *([rows.uniform("mirror")] if self.config.training.mirror else [])]

    def _to_model(self, images: Tensor, stage: Stage, flips: Tensor | None = None) -> Tensor:
        return to_model(images, self.device, flips, stage.fade, self.layout)
