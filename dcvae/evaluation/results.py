"""What an evaluation found, as it stands in ``evaluation.json``."""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dcvae.errors import UserError
from dcvae.storage import NotFound, Storage, read_versioned

FORMAT_VERSION = 1
RESULT, REPORT = "evaluation.json", "report.html"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Protocol(_Record):
    """Everything that decides a measured number besides the model. Equal: comparable."""

    dataset_fingerprint: str
    split: str
    samples: int
    """Images in each of the compared sets."""
    resolution: int
    """Side in pixels of the images as the model makes them."""
    extractor: str
    extractor_sha256: str
    extractor_input: int
    """Side in pixels to which the extractor resizes."""
    latent_clamp: float | None
    """Prior samples are clamped to ±this before decoding; null: not clamped."""
    perceptual: str | None
    """The network of the perceptual distance and the path length; null: not measured."""
    seed: int
    reconstruction: Literal["mean of q(z|x)"] = "mean of q(z|x)"
    covariance: Literal["divided by N - 1"] = "divided by N - 1"

    def digest(self) -> str:
        """Hex SHA-256 of the protocol."""
        return _digest(self.model_dump(mode="json"))

    def differences(self, other: "Protocol") -> list[str]:
        """Names of the fields in which two protocols differ."""
        return [f for f in type(self).model_fields if getattr(self, f) != getattr(other, f)]


class Metric(_Record):
    """One measured number, with all that it needs to be read."""

    value: float
    samples: int
    split: str
    floor: float | None = None
    """The same measure between two sets of real images, of ``floor_samples`` images each."""
    floor_samples: int | None = None
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


class Evaluation(_Record):
    """The content of ``evaluation.json``."""

    format_version: int = FORMAT_VERSION
    snapshot: Snapshot
    dataset: Dataset
    protocol: Protocol
    metrics: dict[str, Metric]
    confusion: Confusion | None
    versions: dict[str, str]
    created_at: str
    seconds: float

    def values(self) -> dict[str, float]:
        """Metric name → value."""
        return {name: metric.value for name, metric in self.metrics.items()}

    def lines(self) -> list[str]:
        """One line for each metric, for a terminal."""
        width = max(map(len, self.metrics), default=0)
        found = []
        for name, metric in self.metrics.items():
            floor = "" if metric.floor is None else f", real images {metric.floor:.4g}"
            by = f", {metric.extractor}" if metric.extractor else ""
            images = f"{metric.samples:,} images"
            found.append(f"{name:<{width}}  {metric.value:<10.4g} ({images}{floor}{by})")
        return found

    def digest(self) -> str:
        """Hex SHA-256 of weights, protocol and values: equal for a repeated measurement."""
        values = {name: metric.value for name, metric in self.metrics.items()}
        return _digest([self.snapshot.weights_sha256, self.protocol.digest(), values])


def read_evaluation(storage: Storage) -> Evaluation:
    """The evaluation in a folder.

    Raises:
        UserError: there is none, it is malformed, or of a later version of dcvae.
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
