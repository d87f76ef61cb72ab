"""D, the dual encoder: one trunk, a real/fake head and contrastive heads (paper 4 and A.5)."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcvae.models.layers import Fade
from dcvae.objective.precision import at_least_float32


class FeatureMaps(NamedTuple):
    """D's features of N images: the inputs of its heads."""

    low: Tensor
    """[N, F, H, W]: the lower of the two layers that are contrasted."""
    high: Tensor
    """[N, F, H, W]: the last map of the trunk."""


class DualEncoder(nn.Module, ABC):
    """D: tells real images from fakes, and each instance from every other.

    Each backbone implements it: :mod:`dcvae.models.progan` and :mod:`dcvae.models.autogan`.
    """

    patch_dim: int
    """Channels of ``FeatureMaps.low``: the length of local patches (4.1)."""
    patch_side: int
    """Rows and columns of ``FeatureMaps.low``."""

    @abstractmethod
    def forward(
        self,
        sets: list[Tensor],
        resolution: int,
        fade: Fade,
        head: str,
        location: Tensor | None = None,
    ) -> list[Tensor] | list[dict[str, Tensor]]:
        """Apply one head to several sets of images, as if in one call per set.

        Passing them together takes fewer, larger operations; batch-dependent statistics are still
        taken per set. For each set, ``head`` gives:

        - ``"score"``: the real/fake scores [N]; positive means real.
        - ``"embed"``: the contrastive embeddings, rows of unit length (paper 4.1, A.5). ``low``
          [N, embedding_dim] is deep supervision (1 x 1 convolution, then linear), ``high``
          [N, embedding_dim] comes from the first linear layer. Given a ``location`` of the
          low map, as :func:`pixel_at` takes it, ``patch`` [N, patch_dim] holds its channels there
          (4.1).
        """

    @abstractmethod
    def features(self, images: Tensor, resolution: int, fade: Fade) -> FeatureMaps:
        """Map one set of images [N, C, r, r] in [-1, 1] to the inputs of the heads."""

    @abstractmethod
    def parts(self) -> dict[str, list[nn.Module]]:
        """The modules that are optimized together, by part name."""

    @abstractmethod
    def at_work(self, resolution: int, fade: Fade, head: str) -> set[str]:
        """The parts that receive gradients at (resolution, fade) through ``head``."""


def pixel_at(x: Tensor, location: Tensor) -> Tensor:
    """The channels [N, F] of [N, F, H, W] at ``location`` [1], any dtype: row · W + column.

    The location is read on the device only.
    """
    return x.flatten(2).index_select(2, location.long()).squeeze(2)


def unit_rows(x: Tensor) -> Tensor:
    """Scale the rows of [N, E] to unit length, in float32 or wider."""
    return F.normalize(at_least_float32(x), dim=1)


def together(sets: list[Tensor]) -> Tensor:
    """Several sets of rows as one."""
    return sets[0] if len(sets) == 1 else torch.cat(sets)


def apart(embeddings: dict[str, Tensor], sizes: list[int]) -> list[dict[str, Tensor]]:
    """Split embeddings into sets of the given sizes."""
    split = {layer: torch.split(rows, sizes) for layer, rows in embeddings.items()}
    return [{layer: rows[k] for layer, rows in split.items()} for k in range(len(sizes))]
