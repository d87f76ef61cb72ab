"""Statistics of real images, computed once per version of a data set and kept for reuse."""

import hashlib
import json

from dcvae.evaluation.feature_set import FeatureSet
from dcvae.evaluation.tensors import read_tensors, write_tensors
from dcvae.storage import Storage


class Reference:
    """Statistics by data, choice and extractor, in a storage or, without one, in memory.

    Two evaluations that need the same ones at once both compute and write them, with equal bytes:
    files are written whole, and damaged ones are computed again.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self._storage = storage
        self._known: dict[str, FeatureSet] = {}

    def key(self, extractor: str, parts: dict[str, object]) -> str:
        """Key of the statistics that ``parts`` determine."""
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{extractor}/{digest[:32]}.safetensors"

    def get(self, key: str, empty: FeatureSet) -> FeatureSet | None:
        """The statistics under ``key``, restored into ``empty``; None if there are none."""
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
        """Keep complete statistics."""
        self._known[key] = features
        if self._storage:
            write_tensors(self._storage, key, features.state())
