"""What a measurement keeps for the pictures."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

EXAMPLES = 20  # images with an attribute, and as many without it (paper A.2)


@dataclass
class Shown:
    """What the pictures are drawn from."""

    inputs: Tensor = field(default_factory=lambda: torch.empty(0))
    """The first images of ``split``, float in [-1, 1] ``(N, C, r, r)``."""
    samples: Tensor = field(default_factory=lambda: torch.empty(0))
    """As many images from the prior."""
    labels: Tensor | None = None
    """Classes of ``inputs``, int64 ``(N,)``."""
    examples: dict[int, Tensor] = field(default_factory=dict)
    """Latents ``(20, d)`` of training images by class, for classes that have so many."""
    split: str = ""
    """The split that ``inputs`` come from."""


def examples_by_class(latents: Tensor, labels: Tensor) -> dict[int, Tensor]:
    """The first 20 latents of each class; classes with fewer are left out."""
    found = {}
    for label in torch.unique(labels).tolist():
        mine = latents[labels == label][:EXAMPLES]
        if len(mine) == EXAMPLES:
            found[int(label)] = mine
    return found
