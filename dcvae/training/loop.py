"""The training loop: steps from images to a model, until the schedule ends or a signal comes."""

import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from dcvae.config import Config
from dcvae.run_folder import RunFolder, snapshot_place
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage
from dcvae.streaming.cache import ShardCache
from dcvae.streaming.stream import Batch, Stream, read_split
from dcvae.training import checkpoint, engines, ranks
from dcvae.training.device import graphs, layout, own_device, prepare
from dcvae.training.inputs import to_model
from dcvae.training.pace import Pace, pace_of
from dcvae.training.profiling import Profiler
from dcvae.training.randomness import Rows
from dcvae.training.samples import INPUTS, sheets
from dcvae.training.schedule import Stage, stage_at
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.training.telemetry import NonFiniteError, Telemetry
from dcvae.training.transfer import Arrivals
from dcvae.updates import Networks

RESTART_EXIT_CODE = 75
"""EX_TEMPFAIL: stopped by a signal after a checkpoint; the same command goes on from there."""


class Stopped(Exception):  # noqa: N818
    """A signal asked the run to stop, and a checkpoint has been committed."""


def train(config: Config, data: str, out: str) -> None:
    """Run, or resume, the training that ``config`` describes; every rank calls it.

    ``data`` is the URI of a shard set, ``out`` that of the run folder.

    Raises:
        UserError: configuration, data and folder do not fit together.
        NonFiniteError: a loss term became NaN or infinite.
        Stopped: SIGTERM came; the run has been checkpointed.
    """
    device = own_device()
    prepare(device, config)
    ranks.start(device)
    engines.prepare(device)
    config.check_ranks(ranks.world_size())
    folder = RunFolder(open_storage(out), config, data)
    folder.begin()
    with Training(config, folder, device) as training:
        try:
            training.run()
        except NonFiniteError as error:  # on every rank
            last = checkpoint.committed(folder.checkpoints)
            advice = folder.break_off(str(error), last[-1] if last else None)
            raise NonFiniteError(f"{error}; the run is stopped: {advice}") from None
    ranks.finish()


class Training:
    """One rank's part in a run."""

    def __init__(self, config: Config, folder: RunFolder, device: torch.device) -> None:
        self.config, self.folder, self.device = config, folder, device
        self.images, self.seconds = 0, 0.0
        self.stop_asked = False
        self.stream: Stream | None = None
        self.streamed = -1  # the phase that the stream is for
        self.arrivals: Arrivals[tuple[Batch, Rows]] | None = None
        self.waited = 0.0  # seconds for images that the telemetry knows of
        self.layout = layout(device, config)
        self.vote = ranks.Vote(device)
        self.telemetry = Telemetry(config.training.total_images, config.training.metrics_port)
        self.profiler = Profiler(config.training, folder.profiles)
        self._build(checkpoint.latest_checkpoint(folder.checkpoints))
        self.telemetry.begin(self.images, self._pace())

    def run(self) -> None:
        """Step through the schedule from where the run stands; write what is due on the way."""
        started = time.monotonic() - self.seconds
        phases, total = self.config.training.phases, self.config.training.total_images
        while self.images < total:
            stage = stage_at(phases, self.images)
            self._enter(stage)
            self._step(stage)
            self.seconds = time.monotonic() - started
            self._write_what_is_due(stage)
            if self.vote.any_rank(self.stop_asked):
                self._log(stage)
                self._refuse_bad_weights()
                self._save_checkpoint()
                ranks.wait()  # A rank that leaves has its agent end the others, soon by force.
                raise Stopped
            self._read_ahead(stage)
        if ranks.rank() == 0:
            self.folder.finish(self.images, self.seconds)

    # -- start ---------------------------------------------------------------------------------

    def _build(self, saved: checkpoint.Checkpoint | None) -> None:
        """Make networks and engines, from ``saved`` if there is a checkpoint."""
        config = self.config
        self.networks = Networks(config).to(self.device)
        if saved is not None:
            self.images, self.seconds = saved.state["images"], saved.state["seconds"]
            self.networks.load_state_dict(saved.networks)
            self.networks.autoencoder.resolution = saved.state["resolution"]
            self.folder.resume_metrics(self.images)
        ranks.equalize(self.networks)
        self.engines = engines.build(self.networks.trained, config.training)
        if saved is not None:
            checkpoint.restore(saved, self.engines)
        self.step = TrainingStep(config, self.networks, self.engines, graphs(self.device, config))

    def _pace(self) -> Pace | None:
        """What rank 0 tells the time that is left by."""
        if ranks.rank() != 0:
            return None
        return pace_of(self.networks.averaged, self.config, ranks.world_size())

    def __enter__(self) -> "Training":
        self._handler = signal.signal(signal.SIGTERM, self._ask_stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # After a stop, another SIGTERM must not change the exit code that says "restart me".
        signal.signal(signal.SIGTERM, signal.SIG_IGN if kind is Stopped else self._handler)
        if self.stream is not None:
            self.stream.close()

    def _ask_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_asked = True

    # -- a step --------------------------------------------------------------------------------

    def _enter(self, stage: Stage) -> None:
        """Take the networks and the learning rate to ``stage``; read images of its resolution."""
        self.step.enter(stage)
        if self.streamed != stage.index:
            self._open_stream(stage)

    def _open_stream(self, stage: Stage) -> None:
        if self.stream is not None:
            self.stream.close()
        self.streamed = stage.index
        self.stream = Stream(
            self.folder.shards,
            self.folder.manifest,
            split=self.config.data.split,
            resolution=stage.phase.resolution,
            seed=self.config.training.seed,
            lanes=self.config.data.lanes,
            workers=self.config.data.workers,
            cache=self._cache(),
        )
        self.waited = 0.0
        batches = self.stream.batches(
            self.images,
            stage.phase.batch_size // self.config.training.accumulation,
            ranks.rank(),
            ranks.world_size(),
        )
        self.arrivals = Arrivals(self._with_rows(batches, stage), self._host_tensors, self.device)

    def _with_rows(self, batches: Iterator[Batch], stage: Stage) -> Iterator[tuple[Batch, Rows]]:
        """Micro-batches, and which rows of their global batch this rank has."""
        share = stage.phase.batch_size // self.config.training.accumulation
        firsts = itertools.cycle(range(0, stage.phase.batch_size, share))
        for batch, first in zip(batches, firsts, strict=False):
            count = len(batch.images)
            own = first + ranks.rank() * count
            begin = batch.position - first
            seed = self.config.training.seed
            yield batch, Rows(seed, begin, stage.phase.batch_size, own, count)

    def _host_tensors(self, arrived: tuple[Batch, Rows]) -> list[Tensor]:
        batch, rows = arrived
        return [batch.images, *([rows.uniform("mirror")] if self.config.training.mirror else [])]

    def _read_ahead(self, stage: Stage) -> None:
        """Have the next step's images on their way while the device still computes this one."""
        if self.device.type == "cuda" and self.images < stage.end:
            assert self.arrivals is not None
            self.arrivals.fetch(self._batches_of_a_step() * self.config.training.accumulation)

    def _cache(self) -> ShardCache | None:
        data = self.config.data
        return ShardCache(Path(data.cache_dir), data.cache_bytes) if data.cache_dir else None

    def _step(self, stage: Stage) -> None:
        """One step: a global batch for every discriminator update."""
        assert self.stream is not None
        began = time.monotonic()
        batches = [self._micro_batches(stage) for _ in range(self._batches_of_a_step())]
        with self.profiler.step(self.networks, stage, self.images):
            terms = self.step(batches, self.images)
        if self.telemetry.has_other_terms(terms):
            self._log(stage)
        self.images += len(batches) * stage.phase.batch_size
        wait, self.waited = self.stream.wait_seconds - self.waited, self.stream.wait_seconds
        self.telemetry.step(self.images, terms, time.monotonic() - began, wait)

    def _micro_batches(self, stage: Stage) -> list[MicroBatch]:
        """This rank's rows of one global batch."""
        assert self.arrivals is not None
        return [
            MicroBatch(self._to_model(images, stage, *flips), rows)
            for (_, rows), (images, *flips) in self.arrivals.take(self.config.training.accumulation)
        ]

    def _to_model(self, images: Tensor, stage: Stage, flips: Tensor | None = None) -> Tensor:
        return to_model(images, self.device, flips, stage.fade, self.layout)

    # -- what is written -----------------------------------------------------------------------

    def _write_what_is_due(self, stage: Stage) -> None:
        """Logs, pictures, snapshot and checkpoint, each at its interval and at a phase's end.

        Nothing of a model is written before every step that made it is known to have been finite.
        """
        training = self.config.training
        pictures, snapshot, saved = (
            self._due(interval, stage)
            for interval in (
                training.sample_images,
                training.snapshot_images,
                training.checkpoint_images,
            )
        )
        if pictures or snapshot or saved or self._due(training.log_images, stage):
            self._log(stage)
        if snapshot or saved:
            self._refuse_bad_weights()
        if pictures:
            self._save_pictures(stage)
        if snapshot and ranks.rank() == 0:
            save_snapshot(
                snapshot_place(self.folder.storage, self.images),
                self.networks.averaged,
                images=self.images,
                dataset=self.folder.dataset(),
            )
        if saved:
            self._save_checkpoint()

    def _due(self, interval: int, stage: Stage) -> bool:
        """Whether the last step passed a multiple of ``interval`` or ended a phase."""
        before = self.images - self._batches_of_a_step() * stage.phase.batch_size
        return self.images // interval > before // interval or self.images >= stage.end

    def _batches_of_a_step(self) -> int:
        """Global batches of a step; without Eq. 4 there is one."""
        return self.config.training.discriminator_steps if self.config.objective.adversarial else 1

    def _log(self, stage: Stage) -> None:
        record = self.telemetry.flush(stage)
        if record is not None and ranks.rank() == 0:
            self.folder.log(record)

    def _save_pictures(self, stage: Stage) -> None:
        if ranks.rank() != 0:
            return
        shards, manifest = self.folder.shards, self.folder.manifest
        split = "test" if "test" in manifest.splits else self.config.data.split
        batch = next(read_split(shards, manifest, split, stage.phase.resolution, INPUTS))
        inputs = self._to_model(batch.images, stage)
        pictures = sheets(self.networks.averaged, inputs, self.config.training.seed)
        self.folder.write_pictures(self.images, *pictures)
        self.folder.write_metrics()

    def _refuse_bad_weights(self) -> None:
        """Raise NonFiniteError for weights that the last update broke: no term has shown it yet."""
        name = self.networks.non_finite()
        if name is not None:
            self.telemetry.refuse(f"the weights {name} became NaN or infinite", self.images)

    def _save_checkpoint(self) -> None:
        """Commit a checkpoint."""
        self.profiler.write_communication()
        began = time.monotonic()
        state = {
            "images": self.images,
            "seconds": self.seconds,
            "resolution": self.networks.autoencoder.resolution,
        }
        if ranks.rank() == 0:
            self.folder.write_metrics()
        size = checkpoint.save_checkpoint(
            self.folder.checkpoints, self.networks, self.engines, state
        )
        if ranks.rank() == 0:
            self.telemetry.checkpoint(time.monotonic() - began, size)
            keep = self.config.training.keep_checkpoints
            checkpoint.prune(self.folder.checkpoints, keep, self._phase_ends())

    def _phase_ends(self) -> set[int]:
        """Images of the checkpoints at the ends of phases: the first ones at or after them."""
        existing = checkpoint.committed(self.folder.checkpoints)
        phases, end, found = self.config.training.phases, 0, set()
        for phase in phases:
            end += phase.fade_images + phase.images
            found |= set([images for images in existing if images >= end][:1])
        return found
