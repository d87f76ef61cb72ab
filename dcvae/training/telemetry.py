"""What a run reports while it runs: loss terms, speed and waits, for people and for programs."""

import math
import os
import time
from collections.abc import Mapping
from typing import Never

import torch
from prometheus_client import Counter, Gauge, Histogram, start_http_server
from torch import Tensor

from dcvae import messages
from dcvae.errors import UserError
from dcvae.training import ranks
from dcvae.training.pace import Pace
from dcvae.training.schedule import Stage

IMAGES = Counter("dcvae_images", "Real images this rank's run has shown to the model.")
LOSS = Gauge("dcvae_loss", "Loss terms, mean since the last log.", ["term"])
ACCURACY = Gauge(
    "dcvae_negatives_accuracy_ratio", "Images told from all negatives, by layer.", ["layer"]
)
STEP_SECONDS = Histogram(
    "dcvae_step_seconds", "Time of a training step.", buckets=[2.0**i for i in range(-8, 8)]
)
DATA_WAIT_SECONDS = Counter("dcvae_data_wait_seconds", "Time spent waiting for images.")
RESOLUTION = Gauge("dcvae_resolution_pixels", "Side of the images at work.")
FADE = Gauge("dcvae_fade_ratio", "Weight of the newest resolution.")
SECONDS_LEFT = Gauge("dcvae_remaining_seconds", "Time to the end of the schedule, on rank 0.")
SECONDS_LEFT.set(math.nan)  # not known before the first log, and never on other ranks
CHECKPOINT_SECONDS = Gauge("dcvae_checkpoint_seconds", "Time the last checkpoint took.")
CHECKPOINT_BYTES = Gauge("dcvae_checkpoint_bytes", "Size of the last checkpoint.")
CHECKPOINT_TIME = Gauge("dcvae_checkpoint_timestamp_seconds", "When the last checkpoint was made.")
NON_FINITE = Counter("dcvae_non_finite", "Runs stopped by a NaN or an infinity.")


class NonFiniteError(RuntimeError):
    """A loss term or a weight became NaN or infinite; the last checkpoint is still sound."""


class Telemetry:
    """Collects the terms of steps on the device, and reads them only in :meth:`flush`."""

    def __init__(self, total_images: int, metrics_port: int | None) -> None:
        self.total_images = total_images
        self.records: list[tuple[int, dict[str, Tensor]]] = []
        self.flushed = (time.monotonic(), 0)
        self.waited = 0.0
        self.pace: Pace | None = None
        if metrics_port is not None:
            _serve(metrics_port)

    def begin(self, images: int, pace: Pace | None = None) -> None:
        """The run starts, or resumes, after ``images`` images; ``pace`` measures its speed."""
        self.pace = pace
        self.flushed = (time.monotonic(), images)

    def has_other_terms(self, terms: dict[str, Tensor]) -> bool:
        """Whether ``terms`` differ by name from those since the last flush; then flush first."""
        return bool(self.records) and self.records[-1][1].keys() != terms.keys()

    def step(self, images: int, terms: dict[str, Tensor], seconds: float, waited: float) -> None:
        """Record a step: the images shown after it, and its terms (scalars on the device)."""
        IMAGES.inc(images - self._last_images())
        STEP_SECONDS.observe(seconds)
        DATA_WAIT_SECONDS.inc(waited)
        self.waited += waited
        self.records.append((images, terms))

    def flush(self, stage: Stage) -> dict[str, float] | None:
        """Read the steps since the last flush; all ranks must call it.

        Returns a line for metrics.jsonl, means over steps and ranks; None if there were no steps.

        Raises:
            NonFiniteError: on every rank, if a term of any rank was not finite.
        """
        if not self.records:
            return None
        names = list(self.records[0][1])
        values = torch.stack([torch.stack([t[n].float() for n in names]) for _, t in self.records])
        self._refuse_non_finite(names, values)
        means = ranks.mean(values.mean(dim=0)).tolist()
        images = self.records[-1][0]
        now, (before, images_before) = time.monotonic(), self.flushed
        seconds = now - before
        record = {
            "images": images,
            "resolution": stage.phase.resolution,
            "fade": round(stage.fade, 6),
            **dict(zip(names, means, strict=True)),
            "images_per_second": (images - images_before) / max(seconds, 1e-9),
            "data_wait_seconds": self.waited,
        }
        self.records, self.flushed, self.waited = [], (now, images), 0.0
        if self.pace:
            self.pace.add(stage.index, images - images_before, seconds)
        self._show(record, names, seconds)
        return record

    def refuse(self, what: str, images: int) -> Never:
        """Count a run that ``what`` ended after ``images`` images, and raise NonFiniteError."""
        NON_FINITE.inc()
        raise NonFiniteError(f"{what} after {images:,} images")

    def checkpoint(self, seconds: float, size: int) -> None:
        """Record a committed checkpoint of ``size`` bytes."""
        CHECKPOINT_SECONDS.set(seconds)
        CHECKPOINT_BYTES.set(size)
        CHECKPOINT_TIME.set_to_current_time()

    def _last_images(self) -> int:
        return self.records[-1][0] if self.records else self.flushed[1]

    def _refuse_non_finite(self, names: list[str], values: Tensor) -> None:
        """Find the first bad step of any rank; every rank raises the same error."""
        bad = (~values.isfinite()).nonzero().tolist()
        row, column = bad[0] if bad else (len(values), 0)
        value = float(values[row, column]) if bad else 0.0
        mine = torch.tensor([[row, column, value]], dtype=torch.float64, device=values.device)
        everyone = ranks.gather_rows(mine).tolist()
        rank, (row, column, value) = min(enumerate(everyone), key=lambda found: found[1][0])
        if row == len(values):
            return
        what = f"the loss term {names[int(column)]} became {_spell(value)} on rank {rank}"
        self.refuse(what, self.records[int(row)][0])

    def _show(self, record: Mapping[str, float], names: list[str], seconds: float) -> None:
        RESOLUTION.set(record["resolution"])
        FADE.set(record["fade"])
        for name in names:
            if name.startswith("accuracy_"):
                ACCURACY.labels(name.removeprefix("accuracy_")).set(record[name])
            else:
                LOSS.labels(name).set(record[name])
        if ranks.rank() == 0:
            shown = dict(record)
            images, waited = int(shown.pop("images")), shown.pop("data_wait_seconds")
            shown["data_wait_ratio"] = waited / max(seconds, 1e-9)
            left = self.pace.seconds_left(images) if self.pace else None
            if left is not None:
                SECONDS_LEFT.set(left)
            messages.progress(images, self.total_images, shown, left)


def _spell(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "infinite" if value > 0 else "minus infinite"


def _serve(metrics_port: int) -> None:
    port = metrics_port + int(os.environ.get("LOCAL_RANK", "0")) if metrics_port else 0
    try:
        server, _ = start_http_server(port)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", "ports end at 65535")
        raise UserError(
            f"the metrics port {port} cannot be opened ({why}); set another "
            "training.metrics_port, or 0 for any free one"
        ) from None
    print(f"metrics of rank {ranks.rank()}: port {server.server_port}", flush=True)
