"""What a run reports while it runs: loss terms, speed and waits, for people and for programs."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Never

import torch
from prometheus_client import Counter, Gauge, Histogram, start_http_server
from torch import Tensor

from dcvae import messages
from dcvae.errors import UserError
from dcvae.training import ranks
from dcvae.training.pace import Pace
from dcvae.training.schedule import Stage
from dcvae.training.transfer import Departure

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


@dataclass(frozen=True)
class Pending:
    """A log line whose terms are still on their way to the host."""

    names: list[str]
    """Names of the terms."""
    images: list[int]
    """Real images shown after each of the steps."""
    summaries: Departure
    """:func:`_summary` of every rank, float64 [ranks, 2 + terms]."""
    record: dict[str, Any]
    """The line of metrics.jsonl without the values of the terms."""
    seconds: float
    """Duration of the steps."""


class Telemetry:
    """Collects the terms of steps on the device, and reads them asynchronously.

    :meth:`request` starts a copy to the host, :meth:`collect` returns what arrived. With a step in
    between, neither blocks until the device is done.
    """

    def __init__(self, total_images: int, metrics_port: int | None) -> None:
        self.total_images = total_images
        self.records: list[tuple[int, dict[str, Tensor]]] = []
        self.pending: Pending | None = None
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
        """Whether ``terms`` differ by name from those not requested yet: request those first."""
        return bool(self.records) and self.records[-1][1].keys() != terms.keys()

    def step(self, images: int, terms: dict[str, Tensor], seconds: float, waited: float) -> None:
        """Record a step: the images shown after it, and its terms (scalars on the device)."""
        IMAGES.inc(images - self._last_images())
        STEP_SECONDS.observe(seconds)
        DATA_WAIT_SECONDS.inc(waited)
        self.waited += waited
        self.records.append((images, terms))

    def request(self, stage: Stage) -> None:
        """Start reading the steps since the last request; all ranks must call it.

        The result of the last request must have been collected.
        """
        if not self.records:
            return
        assert self.pending is None
        names = list(self.records[0][1])
        values = torch.stack([torch.stack([t[n].float() for n in names]) for _, t in self.records])
        everyone = ranks.gather_rows(_summary(values).unsqueeze(0))
        steps = [images for images, _ in self.records]
        now, (before, images_before) = time.monotonic(), self.flushed
        seconds, images = now - before, steps[-1] - images_before
        record = {
            "images": steps[-1],
            "resolution": stage.phase.resolution,
            "fade": round(stage.fade, 6),
            **dict.fromkeys(names),
            "images_per_second": images / max(seconds, 1e-9),
            "data_wait_seconds": self.waited,
        }
        self.pending = Pending(names, steps, Departure(everyone), record, seconds)
        self.records, self.flushed, self.waited = [], (now, steps[-1]), 0.0
        if self.pace:
            self.pace.add(stage.index, images, seconds)

    def collect(self) -> dict[str, Any] | None:
        """The line of metrics.jsonl that the last request asked for: means over steps and ranks.

        None if there is none, or it has been collected. All ranks must call it.

        Raises:
            NonFiniteError: on every rank, if a term of any rank was not finite.
        """
        if self.pending is None:
            return None
        line, self.pending = self.pending, None
        summaries = line.summaries.read()
        self._refuse_non_finite(line, summaries[:, :2].tolist())
        means = summaries[:, 2:].mean(dim=0).tolist()
        record = line.record | dict(zip(line.names, means, strict=True))
        self._show(record, line.names, line.seconds)
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

    def _refuse_non_finite(self, line: Pending, summaries: list[list[float]]) -> None:
        """Find the first bad step of any rank; every rank raises the same error."""
        terms, count = len(line.names), len(line.images) * len(line.names)
        rank, (first, value) = min(enumerate(summaries), key=lambda found: found[1][0] // terms)
        if first == count:
            return
        step, term = divmod(int(first), terms)
        what = f"the loss term {line.names[term]} became {_spell(value)} on rank {rank}"
        self.refuse(what, line.images[step])

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


def _summary(values: Tensor) -> Tensor:
    """Index of the first of ``values`` [steps, terms] that is not finite, its value, and the means.

    float64 [2 + terms], without synchronizing the device. The index is step · terms + term, or
    steps · terms if all values are finite.
    """
    flat = values.flatten()
    indices = torch.arange(len(flat), device=flat.device)
    first = torch.where(flat.isfinite(), len(flat), indices).min().view(1)
    value = flat.gather(0, first.clamp(max=len(flat) - 1))
    return torch.cat([first.double(), value.double(), values.double().mean(dim=0)])


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
