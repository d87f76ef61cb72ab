"""Passes over many images that resume where they were stopped."""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from dcvae.evaluation.tensors import read_tensors, write_tensors
from dcvae.progress import OnProgress
from dcvae.storage import Storage

FOLDER = "passes"
FORMAT = 3
"""Of what passes leave behind: a state of another format is not resumed."""
SAVE_SECONDS = 120.0
"""How much of a pass, at most, is repeated after a kill."""
T = TypeVar("T")


class Part(Protocol):
    """Something that a pass accumulates."""

    def state(self) -> dict[str, Tensor]:
        """Its state, as tensors."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a state."""


class Mean:
    """The mean, in float64, of values that arrive in batches."""

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0

    def add(self, values: Tensor) -> None:
        """Adds ``(n,)``."""
        self.count += len(values)
        self.total += float(values.double().sum())

    @property
    def value(self) -> float:
        return self.total / self.count

    def state(self) -> dict[str, Tensor]:
        return {
            "count": torch.tensor(self.count),
            "total": torch.tensor(self.total, dtype=torch.float64),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        self.count, self.total = int(state["count"]), float(state["total"])


class FirstRows:
    """The first ``most`` rows of those that arrive in batches."""

    def __init__(self, most: int) -> None:
        self._most, self._parts, self._held = most, list[Tensor](), 0

    def add(self, rows: Tensor) -> None:
        """Add rows ``(n, …)``."""
        rows = rows[: self._most - self._held]
        if len(rows):
            self._parts.append(rows.clone())
            self._held += len(rows)

    def __len__(self) -> int:
        return self._held

    @property
    def rows(self) -> Tensor:
        """The rows; ``(0,)`` if there were none."""
        self._parts = [torch.cat(self._parts)] if self._parts else []
        return self._parts[0] if self._parts else torch.empty(0)

    def state(self) -> dict[str, Tensor]:
        return {"rows": self.rows}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._held = len(state["rows"])
        self._parts = [state["rows"]] if self._held else []


class Passes:
    """Runs passes; what they have accumulated is kept in a storage, so that a later run can resume.

    Args:
        storage: the evaluation's folder; without one, a pass that is stopped starts again.
        decided_by: everything that determines the figures: only a state with the same is resumed.
        about: precedes the name of each pass in progress reports.
    """

    def __init__(
        self,
        storage: Storage | None,
        decided_by: object,
        report: OnProgress | None = None,
        about: str = "",
    ) -> None:
        content = json.dumps([FORMAT, decided_by], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()
        self._storage, self._identity = storage, digest[:16]
        tell = report or (lambda done, total, what: None)
        self._report: OnProgress = lambda done, total, what: tell(done, total, about + what)

    def run(
        self,
        what: str,
        total: int,
        parts: Mapping[str, Part],
        batches: Callable[[int], Iterable[T]],
        step: Callable[[T], int],
    ) -> None:
        """Go over ``total`` images, or over those that an earlier run has left.

        Args:
            parts: what ``step`` adds to.
            batches: returns the batches after a given number of images.
            step: adds a batch, and returns how many images it had.
        """
        key = f"{FOLDER}/{self._identity}-{what.replace(' ', '-')}-{total}.safetensors"
        done = self._restored(key, parts)
        self._report(done, total, what)
        if done >= total:
            return
        saved = time.monotonic()
        for batch in batches(done):
            done += step(batch)
            self._report(done, total, what)
            if done < total and time.monotonic() - saved >= SAVE_SECONDS:
                self._save(key, done, parts)
                saved = time.monotonic()
        self._save(key, done, parts)

    def counted(self, what: str, total: int) -> Callable[[int], None]:
        """Report progress of work without state: call the result with how much more is done."""
        done = 0
        self._report(0, total, what)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self._report(done, total, what)

        return advance

    def tell(self, what: str) -> None:
        """Report what is being done, if nothing can be counted."""
        self._report(0, None, what)

    def _restored(self, key: str, parts: Mapping[str, Part]) -> int:
        found = read_tensors(self._storage, key) if self._storage else None
        if found is None:
            return 0
        for name, part in parts.items():
            prefix = f"{name}/"
            mine = {
                key.removeprefix(prefix): t for key, t in found.items() if key.startswith(prefix)
            }
            part.restore(mine)
        return int(found["done"])

    def _save(self, key: str, done: int, parts: Mapping[str, Part]) -> None:
        if self._storage is None:
            return
        tensors = {"done": torch.tensor(done)}
        for name, part in parts.items():
            tensors |= {f"{name}/{key}": value for key, value in part.state().items()}
        write_tensors(self._storage, key, tensors)


def forget_passes(storage: Storage) -> None:
    """Remove what passes have left in the folder of a complete evaluation."""
    for info in list(storage.list(f"{FOLDER}/")):
        storage.delete(info.key)


class Normal:
    """Rows of N(0, I), drawn on the CPU in blocks, so the same for any batch size and device."""

    BLOCK = 1000

    def __init__(self, dimensions: int, seed: int, skip: int = 0) -> None:
        self._dimensions = dimensions
        self._generator = torch.Generator().manual_seed(seed)
        self._left = torch.empty(0, dimensions)
        for _ in range(skip // self.BLOCK):
            self._block()
        self.take(skip % self.BLOCK)

    def take(self, count: int) -> Tensor:
        """The next rows, ``(count, dimensions)``."""
        while len(self._left) < count:
            self._left = torch.cat([self._left, self._block()])
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def batches(self, count: int, size: int) -> Iterator[Tensor]:
        """The next ``count`` rows in batches."""
        for start in range(0, count, size):
            yield self.take(min(size, count - start))

    def _block(self) -> Tensor:
        return torch.randn(self.BLOCK, self._dimensions, generator=self._generator)
