"""What needs no training to compare a representation with: principal components of the pixels."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MOST_PIXELS = 1024
"""Images are reduced until they have at most so many values: to 32 x 32 in grey, 16 x 16 in RGB."""


def reduced(images: Tensor) -> Tensor:
    """Images uint8 ``(n, C, r, r)`` as rows uint8 ``(n, C·s²)`` of at most ``MOST_PIXELS`` values.

    r and s are powers of two, s as large as it can be; a value is the mean of a square of pixels.
    """
    side = images.shape[-1]
    while images.shape[1] * side * side > MOST_PIXELS:
        side //= 2
    if side == images.shape[-1]:
        return images.flatten(1)
    squares = F.avg_pool2d(images.float(), images.shape[-1] // side)
    return squares.round().to(torch.uint8).flatten(1)


def principal_components(train: Tensor, test: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """Rows uint8 ``(N, p)`` and ``(M, p)`` in the first principal components of ``train``.

    Returns float32 ``(N, d)`` and ``(M, d)``, d = ``dimensions``, or as many as there can be.
    """
    from sklearn.decomposition import PCA

    rows = train.numpy().astype(np.float32)
    found = PCA(min(dimensions, *rows.shape), svd_solver="covariance_eigh").fit(rows)
    return (
        torch.from_numpy(found.transform(rows)).float(),
        torch.from_numpy(found.transform(test.numpy().astype(np.float32))).float(),
    )
