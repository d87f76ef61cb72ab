"""AutoGAN's backbone for 32 x 32 images (paper 5.1, Figure 15; Gong et al., 2019).

The decoder is AutoGAN's generator: 256 channels, three cells joined by skips across scales. Encoder
and dual encoder are its discriminator: four residual blocks of 128 channels under spectral norm.

1 x 1 convolutions commute with upsampling and pooling, so they are applied where the map is small.
These networks do not grow: they accept ``resolution`` and ``fade`` only to share an interface.
Shapes: N images, C channels; D = ``latent_dim``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcvae.config import ModelConfig
from dcvae.models.dual_encoder import DualEncoder, FeatureMaps, apart, pixel_at, together, unit_rows
from dcvae.models.layers import Fade, box_sum
from dcvae.models.normalization import GlobalBatchNorm2d, normalize_spectrum
from dcvae.models.spectral import NormalizedLayers, Spectrum

CORE = "core"
"""The only part; it is always at work."""


class Cell(nn.Module):
    """Doubles the side of a map and adds the skips of earlier cells."""

    def __init__(self, width: int, mode: str, skips: int, shortcut: bool) -> None:
        super().__init__()
        self.mode = mode
        self.c1 = nn.Conv2d(width, width, 3, padding=1)
        self.c2 = nn.Conv2d(width, width, 3, padding=1)
        self.skip_in = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(skips))
        self.shortcut = nn.Conv2d(width, width, 1) if shortcut else None

    def forward(self, x: Tensor, skipped: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map [N, F, H, W] to (the skip for later cells, the output), both [N, F, 2H, 2W]."""
        h = self._up_and_convolve(F.relu(x))
        for convolution, skip in zip(self.skip_in, skipped, strict=True):
            h = h + self._enlarge(convolution(skip), h.shape[-1])
        skip_out, h = h, self.c2(F.relu(h))
        if self.shortcut is not None:
            h = h + self._enlarge(self.shortcut(x), h.shape[-1])
        return skip_out, h

    def _up_and_convolve(self, x: Tensor) -> Tensor:
        if self.mode == "nearest":
            kernel = box_sum(self.c1.weight).flip(2, 3).transpose(0, 1)
            return F.conv_transpose2d(x, kernel, self.c1.bias, stride=2, padding=1)
        return self.c1(self._enlarge(x, 2 * x.shape[-1]))  # type: ignore[no-any-return]

    def _enlarge(self, x: Tensor, side: int) -> Tensor:
        if self.mode == "nearest":
            return F.interpolate(x, size=(side, side), mode="nearest")
        return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


class Decoder(nn.Module):
    """f_θ: AutoGAN's generator; 4 x 4 → 32 x 32."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.dense = nn.Linear(config.latent_dim, width * 16)
        self.cell1 = Cell(width, "nearest", skips=0, shortcut=True)
        self.cell2 = Cell(width, "bilinear", skips=1, shortcut=True)
        self.cell3 = Cell(width, "nearest", skips=2, shortcut=False)
        self.norm = GlobalBatchNorm2d(width)
        self.to_rgb = nn.Conv2d(width, config.channels, 3, padding=1)
        _initialize(self)

    def forward(
        self, z: Tensor, resolution: int, fade: Fade, sizes: Sequence[int] | None = None
    ) -> Tensor:
        """Map latents [N, D] to images [N, C, 32, 32] in [-1, 1].

        Given ``sizes``, the latents are consecutive sets of these sizes, each with its own batch
        statistics; None: one set.
        """
        x = self.dense(z).unflatten(1, (-1, 4, 4)).contiguous(memory_format=torch.channels_last)
        skip1, x = self.cell1(x, [])
        skip2, x = self.cell2(x, [skip1])
        _, x = self.cell3(x, [skip1, skip2])
        return torch.tanh(self.to_rgb(F.relu(self.norm(x, sizes))))

    def parts(self) -> dict[str, list[nn.Module]]:
        """One part: the network does not grow."""
        return {CORE: [self]}

    def at_work(self, resolution: int, fade: Fade) -> set[str]:
        """The whole network."""
        return {CORE}


class Block(nn.Module):
    """A residual block; the first one takes images and does not begin with a rectifier."""

    def __init__(self, inputs: int, width: int, *, down: bool, first: bool = False) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.c1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.c2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, width, 1) if down else None

    def forward(self, x: Tensor, layers: NormalizedLayers) -> Tensor:
        """Map [N, inputs, H, W] to [N, F, H', W'], H' = H / 2 if ``down``."""
        h = F.relu(layers.convolve(self.c1, x if self.first else F.relu(x)))
        if not self.down:
            return x + layers.convolve(self.c2, h)
        assert self.shortcut is not None
        shortcut = layers.convolve(self.shortcut, F.avg_pool2d(x, 2))
        return layers.convolve_and_halve(self.c2, h) + shortcut


class Trunk(nn.Module):
    """The four blocks; encoder and dual encoder each have their own."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.encoder_width
        self.block1 = Block(config.channels, width, down=True, first=True)
        self.block2 = Block(width, width, down=True)
        self.block3 = Block(width, width, down=False)
        self.block4 = Block(width, width, down=False)

    def forward(self, images: Tensor, layers: NormalizedLayers) -> tuple[Tensor, Tensor]:
        """Map [N, C, 32, 32] to (after block 1 [N, F, 16, 16], after block 4 [N, F, 8, 8])."""
        x = low = self.block1(images, layers)
        for block in (self.block2, self.block3, self.block4):
            x = block(x, layers)
        return low, x


class Encoder(nn.Module):
    """q_φ(z|x): AutoGAN's discriminator, ending in (μ, log σ²), under spectral norm (A.5)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config)
        self.moments = nn.Linear(config.encoder_width, 2 * config.latent_dim, bias=False)
        _initialize(self)
        self.spectrum = Spectrum(normalize_spectrum(self))

    def forward(self, images: Tensor, resolution: int, fade: Fade) -> tuple[Tensor, Tensor]:
        """Map images [N, C, 32, 32] to (μ [N, D], log σ² [N, D])."""
        # Not len(): it would fix the number of images of an exported program.
        layers = self.spectrum.normalized([images.shape[0]], training=self.training)
        _, x = self.trunk(images, layers)
        x = layers.linear(self.moments, F.relu(x).sum(dim=(2, 3)))
        mu, logvar = x.chunk(2, dim=1)
        return mu, logvar

    def parts(self) -> dict[str, list[nn.Module]]:
        """One part: the network does not grow."""
        return {CORE: [self]}

    def at_work(self, resolution: int, fade: Fade) -> set[str]:
        """The whole network."""
        return {CORE}


class AutoganDualEncoder(DualEncoder):
    """D on AutoGAN's discriminator, whose first linear layer gives the higher embedding.

    Spectral norm is on every layer except the lower contrastive head, as in the released code. That
    code also has such heads on blocks 2 to 4, but does not use them.
    """

    patch_side = 16
    one_by_one: bool | None = None
    """Whether several sets of images pass one after the other; None: only on the CPU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.trunk = Trunk(config)
        self.patch_dim = config.encoder_width
        self.dense = nn.Linear(config.encoder_width, config.embedding_dim, bias=False)
        self.score_head = nn.Linear(config.embedding_dim, 1)
        _initialize(self)
        self.spectrum = Spectrum(normalize_spectrum(self))
        """Trunk, dense layer and score head, in forward order."""
        self.low_map = nn.Conv2d(config.encoder_width, 1, 1)
        self.low_embedding = nn.Linear(self.patch_side**2, config.embedding_dim, bias=False)
        _initialize(self.low_map)
        _initialize(self.low_embedding)

    def forward(
        self,
        sets: list[Tensor],
        resolution: int,
        fade: Fade,
        head: str,
        location: Tensor | None = None,
    ) -> list[Tensor] | list[dict[str, Tensor]]:
        """As in :meth:`DualEncoder.forward`; each set has its own power iteration."""
        count = None if head == "score" else len(self.spectrum.layers) - 1
        sizes = [len(images) for images in sets]
        by_one = self.one_by_one
        if sets[0].device.type == "cpu" if by_one is None else by_one:
            each = self.spectrum.normalized_apart(len(sets), training=self.training, count=count)
            passes = list(zip(sets, each, strict=True))
        else:
            layers = self.spectrum.normalized(sizes, training=self.training, count=count)
            passes = [(together(sets), layers)]
        if head == "score":
            scores = [self._score(images, layers) for images, layers in passes]
            return scores if len(scores) > 1 else list(torch.split(scores[0], sizes))
        found = [self._embed(images, layers, location) for images, layers in passes]
        return found if len(found) > 1 else apart(found[0], sizes)

    def _score(self, images: Tensor, layers: NormalizedLayers) -> Tensor:
        _, high = self._trunk(images, layers)
        return layers.linear(self.score_head, high).squeeze(1)

    def _trunk(self, images: Tensor, layers: NormalizedLayers) -> tuple[Tensor, Tensor]:
        """(After block 1 [N, F, 16, 16], the first linear layer [N, embedding_dim])."""
        low, x = self.trunk(images, layers)
        return low, layers.linear(self.dense, F.relu(x).sum(dim=(2, 3)))

    def _embed(
        self, images: Tensor, layers: NormalizedLayers, location: Tensor | None
    ) -> dict[str, Tensor]:
        low, high = self._trunk(images, layers)
        embedded = self.low_embedding(self.low_map(low).flatten(1))
        embeddings = {"low": unit_rows(embedded), "high": unit_rows(high)}
        if location is not None:
            embeddings["patch"] = unit_rows(pixel_at(low, location))
        return embeddings

    def features(self, images: Tensor, resolution: int, fade: Fade) -> FeatureMaps:
        """As in :meth:`DualEncoder.features`; low is [N, F, 16, 16], high [N, F, 8, 8]."""
        trunk = len(self.spectrum.layers) - 2
        layers = self.spectrum.normalized([len(images)], training=self.training, count=trunk)
        return FeatureMaps(*self.trunk(images, layers))

    def parts(self) -> dict[str, list[nn.Module]]:
        """As in :meth:`DualEncoder.parts`."""
        return {
            "shared": [self.trunk, self.dense],
            "score": [self.score_head],
            "embed": [self.low_map, self.low_embedding],
        }

    def at_work(self, resolution: int, fade: Fade, head: str) -> set[str]:
        """As in :meth:`DualEncoder.at_work`."""
        return {"shared", head}


def _initialize(module: nn.Module) -> None:
    """Xavier's uniform weights in every layer, zero biases, batch norm's scales around 1.

    The released code leaves linear layers and biases at PyTorch's random defaults: μ and log σ² are
    sums over 64 positions, each bias counts 64 times, and they start at 10 and more.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)
