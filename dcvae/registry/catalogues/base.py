"""What is asked of a catalogue, and what it is told of a version."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from dcvae.errors import UserError
from dcvae.registry.versions import Version

CHAMPION = "champion"
"""The alias that follows the gate's decisions."""


@dataclass(frozen=True)
class Entry:
    """One version, as a catalogue shows it."""

    version: Version
    uri: str
    """Folder of the content, with ``model.safetensors``."""
    card: str
    """Model card, Markdown."""

    @property
    def number(self) -> int:
        """The version's number in the bucket."""
        return self.version.version

    def metrics(self) -> dict[str, float]:
        """Metric name → value, without those that are not finite."""
        values = self.version.evaluation.values()
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def lineage(self) -> dict[str, str]:
        """Where the version comes from, as flat text: what people filter and compare by."""
        version, evaluation = self.version, self.version.evaluation
        return {
            "digest": version.digest,
            "weights_sha256": version.weights_sha256,
            "measured_on": evaluation.dataset.uri,
            "dataset_fingerprint": evaluation.dataset.fingerprint,
            "protocol": evaluation.comparable(),
            "extractor": evaluation.protocol.extractor,
            "preset": evaluation.snapshot.preset,
            "method": evaluation.snapshot.method,
            "created_at": version.created_at,
            **_flat(version.lineage),
        }


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}_")
        else:
            found[f"{prefix}{key}"] = str(value)
    return found


class Catalogue(ABC):
    """Another registry that shows models of ours.

    ``place`` is the URI of the model in the bucket; a catalogue keeps it beside the name, and
    refuses to mix two models that only share a name. All methods raise :class:`UserError` when the
    other registry cannot be reached or refuses.
    """

    title: str
    """What it is called in sentences."""
    address: str

    @abstractmethod
    def check(self, place: str, name: str) -> None:
        """Refuse, before anything is written, what it could not show."""

    @abstractmethod
    def numbers(self, place: str, name: str) -> set[int]:
        """Versions that it shows whole."""

    @abstractmethod
    def add(self, place: str, name: str, entry: Entry) -> None:
        """Show a version; what an earlier, interrupted call left behind is completed."""

    @abstractmethod
    def lead(self, place: str, name: str, number: int) -> None:
        """Move the alias ``champion`` to a version that it shows."""

    @abstractmethod
    def find(self, place: str, name: str, alias: str) -> int | None:
        """The number of the version that has this alias there."""

    def foreign(self, name: str, found: str | None) -> UserError:
        """What to say where the name is taken by another model."""
        whose = f"lies in {found}" if found else "was not put there by dcvae"
        return UserError(
            f"{self.title} at {self.address} already has a model {name}, which {whose}; choose "
            "another name"
        )
