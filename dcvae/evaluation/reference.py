"""What follows from real images alone, computed once per version of a data set and kept."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from dcvae.evaluation.tensors import read_tensors, write_tensors
from dcvae.storage import Storage

T = TypeVar("T")


class Reference:
    """Figures and statistics by data and choice, in a storage or, without one, in memory.

    Two evaluations that need the same ones at once both compute and write them, with equal bytes:
    files are written whole, and damaged ones are computed again.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self._storage = storage
        self._known: dict[str, Any] = {}

    def key(self, folder: str, parts: dict[str, object]) -> str:
        """Key, in a folder, of what ``parts`` determine."""
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{folder}/{digest[:32]}.safetensors"

    def get(self, key: str, read: Callable[[dict[str, Tensor]], T | None]) -> T | None:
        """What is kept under ``key``; None if nothing is.

        Args:
            read: makes it of the tensors that were put; None if they are not complete.
        """
        if key in self._known:
            found: T = self._known[key]
            return found
        tensors = read_tensors(self._storage, key) if self._storage else None
        restored = None if tensors is None else read(tensors)
        if restored is not None:
            self._known[key] = restored
        return restored

    def put(self, key: str, value: object, tensors: dict[str, Tensor]) -> None:
        """Keep a value, in a storage as ``tensors``."""
        self._known[key] = value
        if self._storage:
            write_tensors(self._storage, key, tensors)
