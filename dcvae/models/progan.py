"""Progressive GAN backbones (paper 5.1 and A.5): a decoder and a feature trunk that grow.

A network holds every resolution from the start; ``resolution`` (pixels) and ``fade`` (0 to 1, the
weight of the newest resolution) select the parts at work. The others receive no gradient and keep
their weights and optimizer state.

Shapes: N images, C channels, resolution r; D = ``latent_dim``.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dcvae.config import MIN_RESOLUTION, ModelConfig
from dcvae.models.dual_encoder import DualEncoder, FeatureMaps, apart, pixel_at, together, unit_rows
from dcvae.models.layers import (
    HE_GAIN,
    DownConv2d,
    EqualizedConv2d,
    EqualizedLinear,
    Fade,
    UpConv2d,
    blend,
    downsample,
    fading,
    leaky_relu,
    minibatch_stddev,
    pixel_norm,
    upsample,
)
from dcvae.models.recomputing import Recomputing


def width(config: ModelConfig, resolution: int) -> int:
    """Feature maps at ``resolution`` (Karras et al., 2018, table 2)."""
    return min(2 * config.width_base // resolution, config.width_max)


def resolutions(config: ModelConfig) -> list[int]:
    """4, 8, … up to the final resolution."""
    return [2**i for i in range(2, config.resolution.bit_length())]


def parts_at_work(resolution: int, fade: Fade, image_layer: str) -> set[str]:
    """Names of the growing parts at work at (resolution, fade)."""
    parts = {f"{image_layer}.{resolution}"}
    if fading(fade) and resolution > MIN_RESOLUTION:
        parts.add(f"{image_layer}.{resolution // 2}")
    while resolution > MIN_RESOLUTION:
        parts.add(f"block.{resolution}")
        resolution //= 2
    return parts


class Decoder(Recomputing):
    """f_θ: latents to images; Progressive GAN's generator."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first = width(config, MIN_RESOLUTION)
        self.first = first
        self.dense = EqualizedLinear(config.latent_dim, first * 16, gain=2**0.5 / 4)
        self.base = EqualizedConv2d(first, first, 3)
        self.block = nn.ModuleDict()
        self.to_rgb = nn.ModuleDict()
        for r in resolutions(config):
            if r > MIN_RESOLUTION:
                inputs, outputs = width(config, r // 2), width(config, r)
                self.block[str(r)] = nn.ModuleList(
                    [UpConv2d(inputs, outputs), EqualizedConv2d(outputs, outputs, 3)]
                )
            self.to_rgb[str(r)] = EqualizedConv2d(width(config, r), config.channels, 1, gain=1.0)

    def forward(
        self, z: Tensor, resolution: int, fade: Fade, sizes: Sequence[int] | None = None
    ) -> Tensor:
        """Map latents [N, D] to images [N, C, r, r]; linear output, aimed at [-1, 1].

        ``sizes`` makes no difference here: no image depends on the others of its batch.
        """
        x = pixel_norm(z)
        x = pixel_norm(leaky_relu(self.dense(x).view(-1, self.first, 4, 4)))
        x = pixel_norm(leaky_relu(self.base(x)))
        for r in [r for r in map(int, self.block) if r < resolution]:
            x = self.made(r, self._older, r, x)
        return self.made(resolution, self._newest, resolution, x, fade)

    def _older(self, resolution: int, x: Tensor) -> Tensor:
        """One block: from half of ``resolution`` to ``resolution``."""
        for convolution in cast(nn.ModuleList, self.block[str(resolution)]):
            x = pixel_norm(leaky_relu(convolution(x)))
        return x

    def _newest(self, resolution: int, coarse: Tensor, fade: Fade) -> Tensor:
        """The last block at work, and the images it makes."""
        first = resolution == MIN_RESOLUTION
        x = coarse if first else self._older(resolution, coarse)
        image: Tensor = self.to_rgb[str(resolution)](x)
        if fading(fade) and not first:
            previous = upsample(self.to_rgb[str(resolution // 2)](coarse))
            image = blend(previous, image, fade)
        return image

    def parts(self) -> dict[str, list[nn.Module]]:
        """The modules that are optimized together, by part name; more are at work as it grows."""
        grown = {f"{k}.{r}": [m] for k in ("block", "to_rgb") for r, m in getattr(self, k).items()}
        return {"base": [self.dense, self.base], **grown}

    def at_work(self, resolution: int, fade: Fade) -> set[str]:
        """The parts that receive gradients at (resolution, fade)."""
        return {"base"} | parts_at_work(resolution, fade, "to_rgb")


class Trunk(Recomputing):
    """Images to 4 x 4 features; encoder and dual encoder each have one (paper A.5)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.block = nn.ModuleDict()
        self.from_rgb = nn.ModuleDict()
        for r in resolutions(config):
            self.from_rgb[str(r)] = EqualizedConv2d(config.channels, width(config, r), 1)
            if r > MIN_RESOLUTION:
                inputs, outputs = width(config, r), width(config, r // 2)
                self.block[str(r)] = nn.ModuleList(
                    [EqualizedConv2d(inputs, inputs, 3), DownConv2d(inputs, outputs)]
                )

    def forward(self, images: Tensor, resolution: int, fade: Fade) -> tuple[Tensor, Tensor]:
        """Map [N, C, r, r] to (low [N, F, 8, 8], high [N, F, 4, 4]), F = ``width`` at 4.

        ``low`` is the map that enters the 8 x 8 block. At resolution 4, where there is none, it is
        the 4 x 4 features repeated over 2 x 2, so that all heads work at every resolution.
        """
        low, x = self.made(resolution, self._newest, resolution, images, fade)
        for r in sorted((r for r in map(int, self.block) if r < resolution), reverse=True):
            if r == 8:
                low = x
            x = self.made(r, self._older, r, x)
        return low, x

    def _newest(self, resolution: int, images: Tensor, fade: Fade) -> tuple[Tensor, Tensor]:
        """Images through the first block at work: (the map that enters it, the one that leaves)."""
        x = leaky_relu(self.from_rgb[str(resolution)](images))
        if resolution == MIN_RESOLUTION:
            return upsample(x), x
        entering, x = x, self._older(resolution, x)
        if fading(fade):
            previous = self.from_rgb[str(resolution // 2)](downsample(images))
            x = blend(leaky_relu(previous), x, fade)
        return entering, x

    def _older(self, resolution: int, x: Tensor) -> Tensor:
        """One block: from ``resolution`` to half of it."""
        for convolution in cast(nn.ModuleList, self.block[str(resolution)]):
            x = leaky_relu(convolution(x))
        return x

    def parts(self) -> dict[str, list[nn.Module]]:
        """As in :meth:`Decoder.parts`."""
        return {f"{k}.{r}": [m] for k in ("block", "from_rgb") for r, m in getattr(self, k).items()}

    def at_work(self, resolution: int, fade: Fade) -> set[str]:
        """The parts that receive gradients at (resolution, fade)."""
        return parts_at_work(resolution, fade, "from_rgb")


class Encoder(nn.Module):
    """q_φ(z|x): the discriminator without minibatch statistics, ending in (μ, log σ²)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        features = width(config, MIN_RESOLUTION)
        self.trunk = Trunk(config)
        self.top = EqualizedConv2d(features, features, 3)
        self.dense = EqualizedLinear(features * 16, features)
        self.moments = EqualizedLinear(features, 2 * config.latent_dim, gain=1.0)

    def forward(self, images: Tensor, resolution: int, fade: Fade) -> tuple[Tensor, Tensor]:
        """Map images [N, C, r, r] to (μ [N, D], log σ² [N, D])."""
        _, x = self.trunk(images, resolution, fade)
        x = leaky_relu(self.top(x))
        x = leaky_relu(self.dense(x.flatten(1)))
        mu, logvar = self.moments(x).chunk(2, dim=1)
        return mu, logvar

    def parts(self) -> dict[str, list[nn.Module]]:
        """As in :meth:`Decoder.parts`."""
        return {"top": [self.top, self.dense, self.moments], **self.trunk.parts()}

    def at_work(self, resolution: int, fade: Fade) -> set[str]:
        """The parts that receive gradients at (resolution, fade)."""
        return {"top"} | self.trunk.at_work(resolution, fade)


class ProganDualEncoder(DualEncoder):
    """D on the discriminator of Progressive GAN.

    The score head sees minibatch statistics, the contrastive heads do not: an image's embedding
    must not depend on the rest of its batch. Both share ``top`` and ``dense``.
    """

    patch_side = 8

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        features = width(config, MIN_RESOLUTION)
        self.patch_dim = features
        self.trunk = Trunk(config)
        self.top = EqualizedConv2d(features, features, 3)
        # With `top` it is one 3x3 convolution over F + 1 maps; the gain is for that fan-in.
        self.statistics = EqualizedConv2d(1, features, 3, gain=HE_GAIN / (features + 1) ** 0.5)
        self.dense = EqualizedLinear(features * 16, features)
        self.score_head = EqualizedLinear(features, 1, gain=1.0)
        self.low_map = EqualizedConv2d(features, 1, 1, gain=1.0)
        self.low_embedding = EqualizedLinear(self.patch_side**2, config.embedding_dim, gain=1.0)
        self.high_embedding = EqualizedLinear(features, config.embedding_dim, gain=1.0)

    def forward(
        self,
        sets: list[Tensor],
        resolution: int,
        fade: Fade,
        head: str,
        location: Tensor | None = None,
    ) -> list[Tensor] | list[dict[str, Tensor]]:
        """As in :meth:`DualEncoder.forward`; each set has its own minibatch statistics."""
        sizes = [len(images) for images in sets]
        features = self.features(together(sets), resolution, fade)
        if head == "score":
            return list(torch.split(self._score(features.high, sizes), sizes))
        return apart(self._embed(features, location), sizes)

    def features(self, images: Tensor, resolution: int, fade: Fade) -> FeatureMaps:
        """As in :meth:`DualEncoder.features`; low is [N, F, 8, 8], high [N, F, 4, 4]."""
        return FeatureMaps(*self.trunk(images, resolution, fade))

    def _score(self, features: Tensor, sizes: list[int]) -> Tensor:
        statistics = together([minibatch_stddev(each) for each in torch.split(features, sizes)])
        x = leaky_relu(self.top(features) + self.statistics(statistics))
        x = leaky_relu(self.dense(x.flatten(1)))
        return self.score_head(x).squeeze(1)  # type: ignore[no-any-return]

    def _embed(self, features: FeatureMaps, location: Tensor | None) -> dict[str, Tensor]:
        low = leaky_relu(self.low_map(features.low)).flatten(1)
        x = leaky_relu(self.top(features.high))
        x = leaky_relu(self.dense(x.flatten(1)))
        embeddings = {
            "low": unit_rows(self.low_embedding(low)),
            "high": unit_rows(self.high_embedding(x)),
        }
        if location is not None:
            embeddings["patch"] = unit_rows(pixel_at(features.low, location))
        return embeddings

    def parts(self) -> dict[str, list[nn.Module]]:
        """As in :meth:`DualEncoder.parts`."""
        return {
            "shared": [self.top, self.dense],
            "score": [self.statistics, self.score_head],
            "embed": [self.low_map, self.low_embedding, self.high_embedding],
            **self.trunk.parts(),
        }

    def at_work(self, resolution: int, fade: Fade, head: str) -> set[str]:
        """As in :meth:`DualEncoder.at_work`."""
        return {"shared", head} | self.trunk.at_work(resolution, fade)
