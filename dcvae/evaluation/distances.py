"""Distances between two sets of images, on features: Fréchet, kernel, precision and recall.

The kernel distance, precision and recall are torch-fidelity's functions. The Fréchet distance is
computed here with symmetric eigenproblems (real by construction, and faster); on the same features
it equals torch-fidelity's.
"""

import numpy as np
from torch import Tensor
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import (
    KEY_METRIC_PRECISION,
    KEY_METRIC_RECALL,
    prc_features_to_metric,
)

from dcvae.errors import UserError
from dcvae.evaluation.feature_set import Statistics
from dcvae.pictures import LEVELS_PER_UNIT

KERNEL_SUBSET = 1000
KERNEL_SUBSETS = 100
NEIGHBOURS = 3
AT_ONCE = 1000
"""How many images' distances to all others are in memory at once."""


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """``|μa - μb|² + Tr(A + B - 2 (A B)^½)`` (Dowson and Landau 1982, Eq. 16).

    With ``A = FᵀF``, ``A B`` and the symmetric ``F B Fᵀ`` have the same nonzero eigenvalues, so the
    trace of the root is the sum of their square roots: real by construction, and fast for small
    sets. Small sets bias the value upwards; compare it with the distance of two real sets of the
    same size.
    """
    if a.centred is None and b.centred is not None:
        a, b = b, a  # the smaller eigenproblem
    mean = float(np.sum((a.mean - b.mean) ** 2))
    eigenvalues = np.linalg.eigvalsh(a.factor @ b.cov @ a.factor.T)
    cross = float(np.sqrt(eigenvalues.clip(0)).sum())
    return mean + float(np.trace(a.cov) + np.trace(b.cov)) - 2 * cross


def kernel_distance(generated: Tensor, real: Tensor, seed: int = 0) -> float:
    """Squared MMD with the kernel ``(x·y/d + 1)³`` (Binkowski et al. 2018), unbiased in N.

    Up to 1,000 images: over the whole sets; above: mean over 100 subsets of 1,000.

    Raises:
        UserError: a set has fewer than 2 images.
    """
    if min(len(generated), len(real)) < 2:
        raise UserError("a kernel distance needs 2 images or more in each set")
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


def pixel_distance(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Root mean square difference of two batches ``(N, C, H, W)`` in [-1, 1], per image ``(N,)``.

    In 8-bit levels: 0 is equal, 255 is black against white. A set's pixel distance is the mean
    over its images. The paper's Table 1 has an "L2 distance" without its scale, so its figures
    (21.8 to 62.7) are not shown beside ours.
    """
    difference = (images - reconstructions).float() * LEVELS_PER_UNIT
    return difference.pow(2).mean(dim=(1, 2, 3)).sqrt()
