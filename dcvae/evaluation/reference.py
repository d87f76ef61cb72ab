"""Features of real images, made once for a version of a data set and kept for later evaluations."""

import hashlib
import json

from dcvae.evaluation.feature_set import FeatureSet
from dcvae.evaluation.tensors import read_tensors, write_tensors
from dcvae.storage import Storage


class Reference:
    """Statistics by data, choice and extractor, in a storage; without one, in memory.

    Two evaluations that need the same at once both make it, and write the same: a file is written
    whole, and one that is damaged is made again.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self._storage = storage
        self._known: dict[str, FeatureSet] = {}

    def key(self, extractor: str, parts: dict[str, object]) -> str:
        """Name of the statistics that follow from ``parts``."""
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{extractor}/{digest[:32]}.safetensors"

    def get(self, key: str, empty: FeatureSet) -> FeatureSet | None:
        """What is known under ``key``, taken up by ``empty``; None when nothing is."""
        if key in self._known:
            return self._known[key]
        tensors = read_tensors(self._storage, key) if self._storage else None
        if tensors is None:
            return None
        empty.restore(tensors)
        if len(empty) != empty.total:
            return None
        self._known[key] = empty
        return empty

    def put(self, key: str, features: FeatureSet) -> None:
        """Keeps statistics that are complete."""
        self._known[key] = features
        if self._storage:
            write_tensors(self._storage, key, features.state())
