"""D, the dual encoder: one trunk, a real/fake head and contrastive heads (paper 4 and A.5)."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from dcvae.config import MIN_RESOLUTION, ModelConfig
from dcvae.models.layers import (
    HE_GAIN,
    EqualizedConv2d,
    EqualizedLinear,
    leaky_relu,
    minibatch_stddev,
)
from dcvae.models.progan import Trunk, width

LOW_SIDE = 8


class Features(NamedTuple):
    """What D knows of N images."""

    low: Tensor
    """[N, F, 8, 8]: the lower of the two layers that are contrasted."""
    high: Tensor
    """[N, F, 4, 4]: the last map of the trunk."""


class DualEncoder(nn.Module):
    """D: tells real from fake as a set, and each instance from every other.

    The score sees the statistics of its minibatch, the contrastive heads do not: an instance's
    embedding must not depend on the images beside it. Both share ``top`` and ``dense``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        features = width(config, MIN_RESOLUTION)
        self.trunk = Trunk(config)
        self.top = EqualizedConv2d(features, features, 3)
        # With `top`, one 3x3 convolution over F + 1 maps: hence the fan-in of both in the gain.
        self.statistics = EqualizedConv2d(1, features, 3, gain=HE_GAIN / (features + 1) ** 0.5)
        self.dense = EqualizedLinear(features * 16, features)
        self.score_head = EqualizedLinear(features, 1, gain=1.0)
        self.low_map = EqualizedConv2d(features, 1, 1, gain=1.0)
        self.low_embedding = EqualizedLinear(LOW_SIDE**2, config.embedding_dim, gain=1.0)
        self.high_embedding = EqualizedLinear(features, config.embedding_dim, gain=1.0)

    def forward(
        self,
        parts: list[Tensor],
        resolution: int,
        fade: float,
        head: str,
        location: tuple[int, int] | None = None,
    ) -> list[Tensor] | list[dict[str, Tensor]]:
        """Apply one head to several sets of images, kept apart; one call, as DeepSpeed wants it.

        ``head`` is ``"score"`` (see :meth:`score`) or ``"embed"`` (see :meth:`embed`).
        """
        features = [self.features(images, resolution, fade) for images in parts]
        if head == "score":
            return [self.score(f) for f in features]
        return [self.embed(f, location) for f in features]

    def features(self, images: Tensor, resolution: int, fade: float) -> Features:
        """Map images [N, C, r, r] in [-1, 1] to the inputs of the heads."""
        return Features(*self.trunk(images, resolution, fade))

    def score(self, features: Features) -> Tensor:
        """Real/fake score [N] of one set of images; positive means real."""
        statistics = self.statistics(minibatch_stddev(features.high))
        x = leaky_relu(self.top(features.high) + statistics)
        x = leaky_relu(self.dense(x.flatten(1)))
        return self.score_head(x).squeeze(1)  # type: ignore[no-any-return]

    def embed(
        self, features: Features, location: tuple[int, int] | None = None
    ) -> dict[str, Tensor]:
        """Contrastive embeddings of N images, rows of unit length (paper 4.1, A.5).

        ``low`` [N, embedding_dim] is deep supervision (1 x 1 convolution, then linear), ``high``
        [N, embedding_dim] a linear layer on the first linear layer. Given a ``location`` (row,
        column) of the low map, ``patch`` [N, F] is what lies there across channels (4.1).
        """
        low = leaky_relu(self.low_map(features.low)).flatten(1)
        x = leaky_relu(self.top(features.high))
        x = leaky_relu(self.dense(x.flatten(1)))
        embeddings = {
            "low": F.normalize(self.low_embedding(low), dim=1),
            "high": F.normalize(self.high_embedding(x), dim=1),
        }
        if location is not None:
            embeddings["patch"] = F.normalize(features.low[:, :, *location], dim=1)
        return embeddings

    def parts(self) -> dict[str, list[nn.Module]]:
        """Part name → modules that are optimized together."""
        return {
            "shared": [self.top, self.dense],
            "score": [self.statistics, self.score_head],
            "embed": [self.low_map, self.low_embedding, self.high_embedding],
            **self.trunk.parts(),
        }

    def at_work(self, resolution: int, fade: float, head: str) -> set[str]:
        """The parts that get gradients at (resolution, fade) through ``head``."""
        return {"shared", head} | self.trunk.at_work(resolution, fade)
