"""Distances between two sets of images, on features: Fréchet, kernel, precision and recall.

The kernel distance, precision, recall and the Inception score are torch-fidelity's functions. The
Fréchet distance is computed here with symmetric eigenproblems (real by construction, and faster);
on the same features it equals torch-fidelity's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_fidelity.metric_isc import (
    KEY_METRIC_ISC_MEAN,
    KEY_METRIC_ISC_STD,
    isc_features_to_metric,
)
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import (
    KEY_METRIC_PRECISION,
    KEY_METRIC_RECALL,
    prc_features_to_metric,
)

from dcvae.errors import UserError
from dcvae.evaluation.extractors import Extractor

Matrix = NDArray[np.float64]

KERNEL_SUBSET = 1000
KERNEL_SUBSETS = 100
NEIGHBOURS = 3
AT_ONCE = 1000
"""Images whose features, or whose distances to all others, are in memory at one time."""


@dataclass(frozen=True)
class Statistics:
    """Mean ``(d,)`` and unbiased covariance ``(d, d)`` of a set's features, float64."""

    mean: Matrix
    cov: Matrix
    centred: Matrix | None = None
    """``F (N, d)`` with ``FᵀF = cov``, kept when the set has fewer images than dimensions."""

    @cached_property
    def factor(self) -> Matrix:
        """Some ``F (r, d)`` with ``FᵀF = cov``: the centred features or the symmetric root."""
        if self.centred is not None:
            return self.centred
        eigenvalues, vectors = np.linalg.eigh(self.cov)
        root: Matrix = (vectors * np.sqrt(eigenvalues.clip(0))) @ vectors.T
        return root

    @classmethod
    def of(cls, features: Tensor) -> "Statistics":
        """From features ``(N, d)``, N of 2 or more."""
        n, d = features.shape
        if n < 2:
            raise UserError("a Fréchet distance needs 2 images or more in each set")
        parts = torch.split(
            features, AT_ONCE
        )  # float64 doubles the memory: of a part, not of the set
        mean: Matrix = torch.stack([part.double().sum(dim=0) for part in parts]).sum(dim=0).numpy()
        mean /= n
        if n < d:
            centred: Matrix = (features.double().numpy() - mean) / np.sqrt(n - 1)
            return cls(mean, centred.T @ centred, centred)
        cov: Matrix = np.zeros((d, d))
        for part in parts:
            difference = part.double().numpy() - mean
            cov += difference.T @ difference
        return cls(mean, cov / (n - 1))


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """``|μa - μb|² + Tr(A + B - 2 (A B)^½)`` (Dowson and Landau 1982, Eq. 16).

    With ``A = FᵀF``, ``A B`` and the symmetric ``F B Fᵀ`` have the same eigenvalues but for zeros,
    so the trace of the root is the sum of their square roots: real by construction, and quick for
    small sets. The value is biased upwards by small sets: beside it belongs the distance of two
    real sets of the same size.
    """
    mean = float(np.sum((a.mean - b.mean) ** 2))
    eigenvalues = np.linalg.eigvalsh(a.factor @ b.cov @ a.factor.T)
    cross = float(np.sqrt(eigenvalues.clip(0)).sum())
    return mean + float(np.trace(a.cov) + np.trace(b.cov)) - 2 * cross


def kernel_distance(generated: Tensor, real: Tensor, seed: int = 0) -> float:
    """Squared MMD with the kernel ``(x·y/d + 1)³`` (Binkowski et al. 2018), unbiased in N.

    Up to 1,000 images: over the whole sets; above: mean over 100 subsets of 1,000.
    """
    size = min(KERNEL_SUBSET, len(generated), len(real))
    whole = size == len(generated) == len(real)
    metrics = kid_features_to_metric(
        generated,
        real,
        kid_subset_size=size,
        kid_subsets=1 if whole else KERNEL_SUBSETS,
        rng_seed=seed,
        verbose=False,
    )
    return float(metrics[KEY_METRIC_KID_MEAN])


def precision_recall(generated: Tensor, real: Tensor) -> tuple[float, float]:
    """Precision and recall over 3 nearest neighbours (Kynkäänniemi et al. 2019), each in [0, 1]."""
    if min(len(generated), len(real)) <= NEIGHBOURS:
        raise UserError(f"precision and recall need more than {NEIGHBOURS} images in each set")
    metrics = prc_features_to_metric(
        generated,
        real,
        prc_neighborhood=NEIGHBOURS,
        prc_batch_size=AT_ONCE // 4,  # the search for neighbours takes five times their distances
        save_cpu_ram=True,
        verbose=False,
    )
    return float(metrics[KEY_METRIC_PRECISION]), float(metrics[KEY_METRIC_RECALL])


def inception_score(logits: Tensor, seed: int = 0) -> tuple[float, float]:
    """Inception score (Salimans et al. 2016): mean and standard deviation over 10 splits."""
    splits = min(10, len(logits))
    metrics = isc_features_to_metric(logits, splits=splits, shuffle=True, rng_seed=seed)
    return float(metrics[KEY_METRIC_ISC_MEAN]), float(metrics[KEY_METRIC_ISC_STD])


@dataclass(frozen=True)
class Features:
    """What an extractor made of one set: ``values (N, d)``, and ``logits`` when it has a head."""

    values: Tensor
    logits: Tensor | None

    @cached_property
    def statistics(self) -> Statistics:
        return Statistics.of(self.values)

    def __len__(self) -> int:
        return len(self.values)


class Gathering:
    """Features of a set, batch by batch, in memory that is taken once for ``count`` images.

    Lists of batches would need as much again while they are joined, and leave holes behind.
    """

    def __init__(self, extractor: Extractor, count: int) -> None:
        self._extractor, self._count, self._done = extractor, count, 0
        self._rows: dict[str, Tensor] = {}

    def add(self, images: Tensor) -> None:
        """Adds the features of uint8 images ``(n, C, H, W)``."""
        end = self._done + len(images)
        for layer, values in self._extractor(images).items():
            if layer not in self._rows:
                self._rows[layer] = torch.empty(self._count, values.shape[1])
            self._rows[layer][self._done : end] = values
        self._done = end

    def features(self) -> Features:
        """What was gathered.

        Raises:
            UserError: nothing was.
        """
        if not self._done:
            raise UserError("there is no image to measure: the split is empty")
        rows = {layer: rows[: self._done] for layer, rows in self._rows.items()}
        return Features(
            rows[self._extractor.feature_layer], rows.get(self._extractor.logits_layer or "")
        )


def extract(
    batches: Iterable[Tensor],
    extractor: Extractor,
    count: int,
    advance: Callable[[int], None] | None = None,
) -> Features:
    """Features of a stream of ``count`` uint8 images, in batches ``(n, C, H, W)``.

    Images are dropped as soon as their features are known: memory is N·d·4 bytes (256 MB for
    50,000 images and EfficientNet-Lite0), whatever the resolution.
    """
    gathering = Gathering(extractor, count)
    for images in batches:
        gathering.add(images)
        if advance:
            advance(len(images))
    return gathering.features()


def pixel_distance(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Root mean square difference of two batches ``(N, C, H, W)`` in [-1, 1], per image ``(N,)``.

    In 8-bit levels: 0 is equal, 255 is black against white. A set's pixel distance is the mean
    over its images. The paper names an "L2 distance" in Table 1 without its scale, so its figures
    (21.8 to 62.7) are not stood beside ours.
    """
    difference = (images - reconstructions).float() * 127.5
    return difference.pow(2).mean(dim=(1, 2, 3)).sqrt()
