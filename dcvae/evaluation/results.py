"""The result of an evaluation, as stored in ``evaluation.json``."""

import hashlib
import json
import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dcvae.errors import UserError
from dcvae.evaluation.protocol import Protocol
from dcvae.storage import NotFound, Storage, read_versioned

FORMAT_VERSION = 2
RESULT, REPORT = "evaluation.json", "report.html"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Network(_Record):
    """A network whose features were compared."""

    name: str
    sha256: str
    """SHA-256 of its weights."""
    input_size: int | None = None
    """Side in pixels that it resizes images to; null: it takes images as they are."""


class Metric(_Record):
    """A measured number, with everything needed to interpret it."""

    value: float
    samples: int
    """Images of the set that is measured."""
    split: str
    """Where the real images come from."""
    real_images: int | None = None
    """Real images that the set is compared with."""
    floor: float | None = None
    """The same metric of ``floor_samples`` other real images."""
    floor_samples: int | None = None
    components: float | None = None
    """The same metric of principal components of the pixels, as many as the latent's dimensions."""
    extractor: str | None = None
    extractor_sha256: str | None = None
    better: Literal["lower", "higher"] = "lower"
    definition: str


class Snapshot(_Record):
    """Which weights were measured."""

    uri: str
    weights_sha256: str
    images: int
    """Real images the model had seen."""
    resolution: int
    preset: str
    method: str


class Dataset(_Record):
    """What the model was measured on."""

    uri: str
    name: str
    fingerprint: str


class Confusion(_Record):
    """The probe's confusions, summed over its trials: ``counts[true][predicted]``."""

    classes: list[str]
    counts: list[list[int]]


class Candidate(_Record):
    """A snapshot that was measured cheaply, to find the best of several."""

    images: int
    """Real images the model had seen."""
    weights_sha256: str
    value: float | None
    """Value of the selection's metric; null: it could not be measured."""
    problem: str | None = None
    """Why not."""


class Selection(_Record):
    """Which of a run's last snapshots was evaluated, and why."""

    by: str
    """The metric; the lowest value is the best."""
    samples: int
    """Images, at most, that each was measured on."""
    candidates: list[Candidate]
    chosen: int
    """``images`` of the best."""


class Evaluation(_Record):
    """The content of ``evaluation.json``."""

    format_version: int = FORMAT_VERSION
    snapshot: Snapshot
    dataset: Dataset
    protocol: Protocol
    extractor: Network
    perceptual: Network | None = None
    selection: Selection | None = None
    """Null if a single snapshot was given, or the run has only one of this resolution."""
    metrics: dict[str, Metric]
    left_out: dict[str, str] = {}
    """What could not be measured, and why."""
    confusion: Confusion | None
    versions: dict[str, str]
    created_at: str
    seconds: float

    def differences(self, other: "Evaluation") -> list[str]:
        """What makes the numbers of two evaluations incomparable; empty: they can be compared.

        Names fields of the protocol, or of the data and the networks that were used.
        """
        found = self.protocol.differences(other.protocol)
        if self.protocol.name != other.protocol.name:
            found = ["protocol", *(name for name in found if name != "name")]
        conditions = [(each._conditions()) for each in (self, other)]
        return found + [
            name for name, value in conditions[0].items() if conditions[1][name] != value
        ]

    def _conditions(self) -> dict[str, object]:
        return {
            "dataset_fingerprint": self.dataset.fingerprint,
            "resolution": self.snapshot.resolution,
            "extractor_sha256": self.extractor.sha256,
            "perceptual_sha256": self.perceptual and self.perceptual.sha256,
        }

    def values(self) -> dict[str, float]:
        """Metric name → value."""
        return {name: metric.value for name, metric in self.metrics.items()}

    def finite(self) -> dict[str, float]:
        """Those of :meth:`values` that are finite numbers, for places that know no others."""
        return {name: value for name, value in self.values().items() if math.isfinite(value)}

    def lines(self) -> list[str]:
        """One line for each metric, for a terminal."""
        width = max(map(len, self.metrics), default=0)
        found = []
        for name, metric in self.metrics.items():
            floor = "" if metric.floor is None else f", real images {metric.floor:.4g}"
            if metric.components is not None:
                floor += f", principal components {metric.components:.4g}"
            by = f", {metric.extractor}" if metric.extractor else ""
            images = f"{metric.samples:,} images"
            found.append(f"{name:<{width}}  {metric.value:<10.4g} ({images}{floor}{by})")
        for reason, names in self.reasons().items():
            found.append(f"left out: {', '.join(names)}: {reason}")
        return found

    def reasons(self) -> dict[str, list[str]]:
        """What was left out, by reason."""
        found: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            found.setdefault(reason, []).append(name)
        return found

    def digest(self) -> str:
        """Hex SHA-256 of weights, protocol and values: equal if a measurement is repeated."""
        return _digest([self.snapshot.weights_sha256, self.comparable(), self.values()])

    def comparable(self) -> str:
        """Hex SHA-256 that is equal for evaluations whose numbers can be compared."""
        return _digest([self.protocol.digest(), self._conditions()])


def read_evaluation(storage: Storage) -> Evaluation:
    """The evaluation in a folder.

    Raises:
        UserError: there is none, it is malformed, or a later version of dcvae wrote it.
    """
    try:
        content = read_versioned(storage, RESULT, FORMAT_VERSION)
    except NotFound:
        raise UserError(
            f"there is no {RESULT} in {storage.uri}; run `dcvae evaluate` into this folder first"
        ) from None
    try:
        return Evaluation.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{storage.uri}/{RESULT} is malformed ({where}: {first['msg']}); evaluate again"
        ) from error


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
