"""What is kept of a set's features: the moments of all, and some of the features themselves.

Sets are streamed. Every batch updates the mean and covariance, whose memory does not depend on the
number of images.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcvae.errors import UserError

Matrix = NDArray[np.float64]
AT_ONCE = 1000
"""How many features' outer products are added up at once."""


@dataclass(frozen=True)
class Statistics:
    """Mean ``(d,)`` and unbiased covariance ``(d, d)`` of a set's features, float64."""

    mean: Matrix
    cov: Matrix
    centred: Matrix | None = None
    """``F (N, d)`` with ``FᵀF = cov``, if the set has fewer images than dimensions."""

    @cached_property
    def factor(self) -> Matrix:
        """An ``F (r, d)`` with ``FᵀF = cov``: the centred features or the symmetric root."""
        if self.centred is not None:
            return self.centred
        eigenvalues, vectors = np.linalg.eigh(self.cov)
        root: Matrix = (vectors * np.sqrt(eigenvalues.clip(0))) @ vectors.T
        return root


class Moments:
    """Count, mean and sum of outer products about the mean, of rows that arrive in batches.

    Rows are collected into parts of 1,000, and each part's mean and products are merged with those
    before it (Chan, Golub and LeVeque 1983), all in float64. So a mean much larger than the spread
    costs no precision, and the batch sizes change nothing.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Matrix = np.zeros(0)
        self.products: Matrix = np.zeros((0, 0))
        self._waiting: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """Add rows ``(n, d)``."""
        for part in torch.split(rows, AT_ONCE):
            self._waiting.append(part.clone())
            waiting = sum(map(len, self._waiting))
            if waiting >= AT_ONCE:
                joined = torch.cat(self._waiting)
                self._join(joined[:AT_ONCE])
                self._waiting = [joined[AT_ONCE:]] if waiting > AT_ONCE else []

    def finish(self) -> None:
        """Add the rows of the last, incomplete part; no more rows follow."""
        if self._waiting:
            self._join(torch.cat(self._waiting))
            self._waiting = []

    def _join(self, part: Tensor) -> None:
        rows: Matrix = part.double().numpy()
        n, mean = len(rows), rows.mean(axis=0)
        centred = rows - mean
        products: Matrix = centred.T @ centred
        if not self.count:
            self.count, self.mean, self.products = n, mean, products
            return
        total, shift = self.count + n, mean - self.mean
        self.products += products
        self.products += np.outer(shift, shift * (self.count * n / total))
        self.mean = self.mean + shift * (n / total)
        self.count = total

    def state(self) -> dict[str, Tensor]:
        """The state, as tensors."""
        found = {
            "count": torch.tensor(self.count),
            "mean": torch.from_numpy(self.mean),
            "products": torch.from_numpy(self.products),
        }
        return found | ({"waiting": torch.cat(self._waiting)} if self._waiting else {})

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a state."""
        self.count = int(state["count"])
        self.mean, self.products = state["mean"].numpy(), state["products"].numpy()
        self._waiting = [state["waiting"]] if "waiting" in state else []


class Score:
    """The Inception score of logits that arrive in batches (Salimans et al. 2016).

    The mean of ``exp(E[KL(p(y|x) ‖ p(y))])`` over ``splits`` equal parts of ``total`` images, in
    their order. Equal to torch-fidelity's without shuffling.
    """

    def __init__(self, total: int, splits: int) -> None:
        self._splits = min(splits, total)
        self._ends = torch.tensor([(i + 1) * total // self._splits for i in range(self._splits)])
        self.done = 0
        self.marginal = torch.zeros(self._splits, 0, dtype=torch.float64)
        self.information = torch.zeros(self._splits, dtype=torch.float64)

    def add(self, logits: Tensor) -> None:
        """Add logits ``(n, classes)``."""
        if not self.marginal.shape[1]:
            self.marginal = torch.zeros(self._splits, logits.shape[1], dtype=torch.float64)
        log_p = logits.double().log_softmax(dim=1)
        p = log_p.exp()
        numbers = torch.arange(self.done, self.done + len(logits))
        split = torch.searchsorted(self._ends, numbers, right=True)
        self.marginal.index_add_(0, split, p)
        self.information.index_add_(0, split, (p * log_p).sum(dim=1))
        self.done += len(logits)

    def value(self) -> float:
        """The mean over the splits."""
        counts = torch.diff(self._ends, prepend=torch.zeros(1, dtype=self._ends.dtype))[:, None]
        q = self.marginal / counts
        entropy = -(q * q.clamp_min(1e-300).log()).sum(dim=1)
        divergence = self.information / counts[:, 0] + entropy
        return float(divergence.exp().mean())

    def state(self) -> dict[str, Tensor]:
        """The state, as tensors."""
        done = torch.tensor(self.done)
        return {"done": done, "marginal": self.marginal, "information": self.information}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a state."""
        self.done = int(state["done"])
        self.marginal, self.information = state["marginal"], state["information"]


class FeatureSet:
    """Features of one set of images, batch by batch.

    It takes d² · 8 bytes of memory, and ``keep`` · d · 4 for the features that kernel distance,
    precision and recall use: 64 MB for 1,280 dimensions and 10,000 features.
    """

    def __init__(self, total: int, keep: int, splits: int = 10) -> None:
        self.total, self._keep = total, min(keep, total)
        self._moments, self._score = Moments(), Score(total, splits)
        self._kept: Tensor | None = None
        self._held = 0
        self._scored = False

    def add(
        self, features: Tensor, logits: Tensor | None = None, chosen: Tensor | None = None
    ) -> None:
        """Add features ``(n, d)``.

        Args:
            logits: ``(n, classes)``, if the network has a head.
            chosen: which features may be kept, bool ``(n,)``; by default, the first ones.
        """
        self._moments.add(features)
        if logits is not None:
            self._scored = True
            self._score.add(logits)
        kept = features if chosen is None else features[chosen]
        kept = kept[: self._keep - self._held]
        if self._kept is None:
            self._kept = torch.empty(self._keep, features.shape[1])
        self._kept[self._held : self._held + len(kept)] = kept
        self._held += len(kept)

    def __len__(self) -> int:
        return self._moments.count

    @property
    def kept(self) -> Tensor:
        """The features that were kept, ``(at most keep, d)``."""
        return torch.empty(0, 0) if self._kept is None else self._kept[: self._held]

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and covariance of all features.

        Raises:
            UserError: there are fewer than 2.
        """
        self.finish()
        n = len(self)
        if n < 2:
            raise UserError("a Fréchet distance needs 2 images or more in each set")
        mean, cov = self._moments.mean, self._moments.products / (n - 1)
        if n < len(mean) and self._held == n:
            centred: Matrix = (self.kept.double().numpy() - mean) / np.sqrt(n - 1)
            return Statistics(mean, cov, centred)
        return Statistics(mean, cov)

    def inception_score(self) -> float | None:
        """Mean over the splits; None if the extractor has no head."""
        return self._score.value() if self._scored else None

    def finish(self) -> None:
        """No more features follow."""
        self._moments.finish()

    def state(self) -> dict[str, Tensor]:
        """The state, as tensors."""
        found = {f"moments.{name}": value for name, value in self._moments.state().items()}
        if self._scored:
            found |= {f"score.{name}": value for name, value in self._score.state().items()}
        return found | {"kept": self.kept}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a state of a set of the same size."""
        self._moments.restore(_below(state, "moments."))
        score = _below(state, "score.")
        self._scored = bool(score)
        if score:
            self._score.restore(score)
        kept = state["kept"]
        self._held = len(kept)
        if kept.numel():
            self._kept = torch.empty(self._keep, kept.shape[1])
            self._kept[: self._held] = kept


def gathered(batches: Iterable[Tensor], total: int, keep: int | None = None) -> FeatureSet:
    """The set of the features in ``batches`` ``(n, d)``."""
    found = FeatureSet(total, total if keep is None else keep)
    for features in batches:
        found.add(features)
    found.finish()
    return found


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
