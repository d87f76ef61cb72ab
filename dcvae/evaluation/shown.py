"""What measuring a model keeps for its pictures."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

EXAMPLES = 20  # images with an attribute, and as many without it (paper A.2)


@dataclass
class Shown:
    """What there is to draw from."""

    inputs: Tensor = field(default_factory=lambda: torch.empty(0))
    """The first images of ``split``, float in [-1, 1] ``(N, C, r, r)``."""
    samples: Tensor = field(default_factory=lambda: torch.empty(0))
    """Images from the prior, as many."""
    labels: Tensor | None = None
    """Classes of ``inputs``, int64 ``(N,)``."""
    examples: dict[int, Tensor] = field(default_factory=dict)
    """Class → latents ``(20, d)`` of training images, where there are as many."""
    split: str = ""
    """Where ``inputs`` are from."""


def examples_by_class(latents: Tensor, labels: Tensor) -> dict[int, Tensor]:
    """Class → its first 20 latents; classes with fewer are left out."""
    found = {}
    for label in torch.unique(labels).tolist():
        mine = latents[labels == label][:EXAMPLES]
        if len(mine) == EXAMPLES:
            found[int(label)] = mine
    return found
