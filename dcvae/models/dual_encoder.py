"""D, the dual encoder: one trunk, a real/fake head and contrastive heads (paper 4 and A.5)."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcvae.objective.precision import at_least_float32


class FeatureMaps(NamedTuple):
    """What D knows of N images, before its heads."""

    low: Tensor
    """[N, F, H, W]: the lower of the two layers that are contrasted."""
    high: Tensor
    """[N, F, H, W]: the last map of the trunk."""


class DualEncoder(nn.Module, ABC):
    """D: tells real from fake as a set, and each instance from every other.

    Each backbone has its own; see :mod:`dcvae.models.progan` and :mod:`dcvae.models.autogan`.
    """

    patch_dim: int
    """Channels of ``FeatureMaps.low``: the length of local patches (4.1)."""
    patch_side: int
    """Rows and columns of ``FeatureMaps.low``."""

    @abstractmethod
    def forward(
        self,
        parts: list[Tensor],
        resolution: int,
        fade: float,
        head: str,
        location: tuple[int, int] | None = None,
    ) -> list[Tensor] | list[dict[str, Tensor]]:
        """Apply one head to several sets of images, as if they came one after the other.

        They pass together, which costs fewer and larger operations, and nothing that depends on
        more than one image is shared between them. For each set, ``head`` gives:

        - ``"score"``: the real/fake scores [N]; positive means real.
        - ``"embed"``: the contrastive embeddings, rows of unit length (paper 4.1, A.5). ``low``
          [N, embedding_dim] is deep supervision (1 x 1 convolution, then linear), ``high``
          [N, embedding_dim] comes from the first linear layer. Given a ``location`` (row, column)
          of the low map, ``patch`` [N, patch_dim] is what lies there across channels (4.1).
        """

    @abstractmethod
    def features(self, images: Tensor, resolution: int, fade: float) -> FeatureMaps:
        """Map one set of images [N, C, r, r] in [-1, 1] to the inputs of the heads."""

    @abstractmethod
    def parts(self) -> dict[str, list[nn.Module]]:
        """Part name → modules that are optimized together."""

    @abstractmethod
    def at_work(self, resolution: int, fade: float, head: str) -> set[str]:
        """The parts that get gradients at (resolution, fade) through ``head``."""


def unit_rows(x: Tensor) -> Tensor:
    """Scale the rows of [N, E] to length 1, in float32 or wider: lengths are compared with 1."""
    return F.normalize(at_least_float32(x), dim=1)


def together(parts: list[Tensor]) -> Tensor:
    """Several sets of images as one."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def apart(embeddings: dict[str, Tensor], sizes: list[int]) -> list[dict[str, Tensor]]:
    """The embeddings of each set, whose numbers of images are given."""
    split = {layer: torch.split(rows, sizes) for layer, rows in embeddings.items()}
    return [{layer: rows[k] for layer, rows in split.items()} for k in range(len(sizes))]
