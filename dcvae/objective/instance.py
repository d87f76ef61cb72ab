"""L_instance (Eq. 6): every reconstruction must be recognisable as that of its own input."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dcvae.objective.precision import at_least_float32, full_precision


def instance_logits(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """h(x_j, f_θ(z)) of Eq. 6 for each query: its own key in column 0, then the negatives.

    ``queries`` and ``keys`` are [N, E] of unit length, row i belonging to image i; ``negatives`` is
    [K, E] of unit length, K ≥ 0. h is the cosine similarity over ``temperature``. Only ``queries``
    carries gradient (He et al., 2020). Returns [N, 1 + K], float32 or wider.
    """
    with full_precision(queries.device.type):
        queries = at_least_float32(queries)
        keys, negatives = keys.detach().to(queries), negatives.detach().to(queries)
        positive = (queries * keys).sum(dim=1, keepdim=True)
        return torch.cat([positive, queries @ negatives.T], dim=1) / temperature


def info_nce(logits: Tensor) -> Tensor:
    """Eq. 6 as cross-entropy with column 0 of ``logits`` [N, 1 + K]; its mean is Eq. 7; scalar."""
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def instance_accuracy(logits: Tensor) -> Tensor:
    """Share of images, 0 to 1, whose own key scores higher than every negative; scalar."""
    return (logits.argmax(dim=1) == 0).float().mean()
