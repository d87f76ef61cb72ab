"""The training loop: steps until the schedule ends or a signal arrives, and all that is written."""

import signal
import time
from types import FrameType

import torch

from dcvae.config import Config
from dcvae.run_folder import RunFolder, snapshot_place
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage
from dcvae.training import checkpoint, engines, ranks
from dcvae.training.device import graphs, lay_out, own_device, prepare
from dcvae.training.feed import Feed
from dcvae.training.pace import Pace, pace_of
from dcvae.training.profiling import Profiler
from dcvae.training.samples import sheets
from dcvae.training.schedule import Stage, steps
from dcvae.training.step import TrainingStep
from dcvae.training.telemetry import NonFiniteError, Telemetry
from dcvae.updates import Networks

RESTART_EXIT_CODE = 75
"""EX_TEMPFAIL: stopped by a signal after a checkpoint; the same command resumes from there."""


class Stopped(Exception):  # noqa: N818
    """A signal asked the run to stop, and a checkpoint has been committed."""


def train(config: Config, data: str, out: str) -> None:
    """Run, or resume, the training that ``config`` describes; every rank calls it.

    ``data`` is the URI of a shard set, ``out`` that of the run folder.

    Raises:
        UserError: configuration, data and folder do not fit together.
        NonFiniteError: a loss term or a weight became NaN or infinite.
        Stopped: SIGTERM arrived, and the run has been checkpointed.
    """
    device = own_device()
    prepare(device, config)
    ranks.start(device)
    engines.prepare(device)
    config.check_ranks(ranks.world_size())
    folder = RunFolder(open_storage(out), config, data)
    folder.begin()
    try:
        with Training(config, folder, device) as training:
            training.run()
    except NonFiniteError as error:
        last = checkpoint.committed(folder.checkpoints)
        advice = folder.break_off(str(error), last[-1] if last else None)
        ranks.part()
        raise NonFiniteError(f"{error}; the run is stopped: {advice}") from None
    except Stopped:
        ranks.part()
        raise
    ranks.finish()


class Training:
    """One rank's part in a run."""

    def __init__(self, config: Config, folder: RunFolder, device: torch.device) -> None:
        self.config, self.folder, self.device = config, folder, device
        self.images, self.seconds = 0, 0.0
        self.stop_asked = False
        self.feed = Feed(config, folder, device)
        self.vote = ranks.Vote(device)
        self.telemetry = Telemetry(config.training.total_images, config.training.metrics_port)
        self.profiler = Profiler(config.training, folder.profiles)
        self._build(checkpoint.latest_checkpoint(folder.checkpoints))
        self.telemetry.begin(self.images, self._pace())

    def run(self) -> None:
        """Make the steps that are left of the schedule, and write what is due after each."""
        started = time.monotonic() - self.seconds
        for stage, batches in steps(self.config, self.images):
            self.step.enter(stage)
            self.feed.enter(stage, self.images)
            self._step(stage, batches)
            self.seconds = time.monotonic() - started
            self._write_what_is_due(stage, batches)
            if self.vote.any_rank(self.stop_asked):
                self._log(stage)
                self._refuse_bad_weights()
                self._save_checkpoint()
                raise Stopped
            if self.images < stage.end:
                self.feed.read_ahead()
        if ranks.rank() == 0:
            self.folder.finish(self.images, self.seconds)

    # -- start ---------------------------------------------------------------------------------

    def _build(self, saved: checkpoint.Checkpoint | None) -> None:
        """Make networks and engines, from ``saved`` if there is a checkpoint."""
        config = self.config
        self.networks = Networks(config).to(self.device)
        if saved is not None:
            self.images, self.seconds = saved.state["images"], saved.state["seconds"]
            checkpoint.restore_networks(saved, self.networks)
            self.networks.autoencoder.resolution = saved.state["resolution"]
            self.folder.resume_metrics(self.images)
        ranks.equalize(self.networks)
        self.engines = engines.build(self.networks.trained, config.training)
        lay_out(self.networks, self.device, config)
        if saved is not None:
            checkpoint.restore(saved, self.engines)
        self.step = TrainingStep(config, self.networks, self.engines, graphs(self.device, config))

    def _pace(self) -> Pace | None:
        """What rank 0 estimates the remaining time with."""
        if ranks.rank() != 0:
            return None
        return pace_of(self.networks.averaged, self.config, ranks.world_size())

    def __enter__(self) -> "Training":
        self._handler = signal.signal(signal.SIGTERM, self._ask_stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # After a stop, another SIGTERM must not change the exit code that says "restart me".
        signal.signal(signal.SIGTERM, signal.SIG_IGN if kind is Stopped else self._handler)
        self.feed.close()

    def _ask_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_asked = True

    # -- a step --------------------------------------------------------------------------------

    def _step(self, stage: Stage, batches: range) -> None:
        """One step; ``batches`` as in :func:`~dcvae.training.schedule.steps`."""
        began = time.monotonic()
        taken = [self.feed.take(stage) for _ in batches]
        with self.profiler.step(self.networks, stage, self.images):
            terms = self.step(taken, self.images)
        if self.telemetry.has_other_terms(terms):
            self._log(stage)
        self.images = batches.stop
        self.telemetry.step(self.images, terms, time.monotonic() - began, self.feed.waited())

    # -- what is written -----------------------------------------------------------------------

    def _write_what_is_due(self, stage: Stage, batches: range) -> None:
        """Logs, pictures, snapshot and checkpoint, each at its interval and at a phase's end.

        A model is written only once every step that led to it is known to have been finite. If
        no model is due, the losses are read once the next step is under way.
        """
        self._write_log()
        training = self.config.training
        pictures, snapshot, saved = (
            self._due(interval, stage, batches)
            for interval in (
                training.sample_images,
                training.snapshot_images,
                training.checkpoint_images,
            )
        )
        if pictures or snapshot or saved:
            self._log(stage)
        elif self._due(training.log_images, stage, batches):
            self.telemetry.request(stage)
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

    def _due(self, interval: int, stage: Stage, batches: range) -> bool:
        """Whether the last step passed a multiple of ``interval`` or ended a phase."""
        return self.images // interval > batches.start // interval or self.images >= stage.end

    def _log(self, stage: Stage) -> None:
        """Log all steps so far, and wait for their losses."""
        self._write_log()
        self.telemetry.request(stage)
        self._write_log()

    def _write_log(self) -> None:
        """Write the log line that was requested, if there is one."""
        record = self.telemetry.collect()
        if record is not None and ranks.rank() == 0:
            self.folder.log(record)

    def _save_pictures(self, stage: Stage) -> None:
        if ranks.rank() != 0:
            return
        inputs = self.feed.held_out(stage)
        pictures = sheets(self.networks.averaged, inputs, self.config.training.seed)
        self.folder.write_pictures(self.images, *pictures)
        self.folder.write_metrics()

    def _refuse_bad_weights(self) -> None:
        """Raise NonFiniteError for weights broken by the last update, which no term shows yet."""
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
        """Image counts of the first checkpoint at or after the end of each phase."""
        existing = checkpoint.committed(self.folder.checkpoints)
        phases, end, found = self.config.training.phases, 0, set()
        for phase in phases:
            end += phase.fade_images + phase.images
            found |= set([images for images in existing if images >= end][:1])
        return found
