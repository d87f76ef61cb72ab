"""L_instance (Eq. 6): every reconstruction must be recognisable as its own input."""

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each query's own key among the negatives; mean per image, scalar.

    ``queries`` and ``keys`` are [N, E] of unit length, row i belonging to image i; ``negatives`` is
    [K, E] of unit length, K ≥ 0. The critic h of Eq. 6 is the cosine similarity over
    ``temperature``. Only ``queries`` carries gradient (He et al., 2020).
    """
    logits = instance_logits(queries, keys, negatives, temperature)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def instance_logits(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """h(x_j, f_θ(z)) for the positive (column 0) and the negatives: [N, 1 + K], float32 or wider."""
    queries = queries if queries.dtype == torch.float64 else queries.float()
    keys, negatives = keys.detach().to(queries), negatives.detach().to(queries)
    positive = (queries * keys).sum(dim=1, keepdim=True)
    return torch.cat([positive, queries @ negatives.T], dim=1) / temperature


def instance_accuracy(logits: Tensor) -> Tensor:
    """Share of images, 0 to 1, whose own key scores above every negative; scalar."""
    return (logits.argmax(dim=1) == 0).float().mean()
