"""The interface of a catalogue, and what it shows of a version."""

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
    """A version, as a catalogue shows it."""

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
        """Values by metric name, without those that are not finite."""
        values = self.version.evaluation.values()
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def lineage(self) -> dict[str, str]:
        """Where the version comes from, as flat text by which people filter and compare."""
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
    """Another registry that shows our models.

    ``place`` is the URI of the model in the bucket; a catalogue stores it with the name, and
    refuses to mix two models that only share a name. All methods raise :class:`UserError` if the
    other registry cannot be reached or refuses.
    """

    title: str
    """Its name in messages."""
    address: str

    @abstractmethod
    def check(self, place: str, name: str) -> None:
        """Refuse what it could not show, before anything is written."""

    @abstractmethod
    def numbers(self, place: str, name: str) -> set[int]:
        """The versions that it shows completely."""

    @abstractmethod
    def add(self, place: str, name: str, entry: Entry) -> None:
        """Show a version; what an earlier, interrupted call has left is completed."""

    @abstractmethod
    def lead(self, place: str, name: str, number: int) -> None:
        """Move the alias ``champion`` to a version that it already shows."""

    @abstractmethod
    def find(self, place: str, name: str, alias: str) -> int | None:
        """The number of the version with this alias."""

    def foreign(self, name: str, found: str | None) -> UserError:
        """The error if the name is taken by another model."""
        whose = f"lies in {found}" if found else "was not put there by dcvae"
        return UserError(
            f"{self.title} at {self.address} already has a model {name}, which {whose}; choose "
            "another name"
        )
