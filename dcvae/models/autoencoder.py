"""DCVAE: the encoder and the decoder as one model, which is what users load."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dcvae.config import Config
from dcvae.models.backbones import build_decoder, build_encoder
from dcvae.models.layers import Fade


class Generated(NamedTuple):
    """One pass of the autoencoder."""

    reconstruction: Tensor
    """[N, C, r, r], not clamped."""
    sample: Tensor | None
    """[M, C, r, r] from the prior, not clamped."""
    mu: Tensor
    """[N, latent_dim]"""
    logvar: Tensor
    """[N, latent_dim]"""


class DCVAE(nn.Module):
    """A generative autoencoder: images to latents and back, and new images from the prior.

    Images are float tensors [N, C, r, r] in [-1, 1], r = :attr:`resolution`. Latents are float
    tensors [N, ``config.model.latent_dim``], standard normal under the prior.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.model)
        self.decoder = build_decoder(config.model)
        self.resolution = config.model.resolution
        """Side of the images in pixels; lower than the configured one while the model grows."""
        self.fade: Fade = 1.0
        """Weight of the newest resolution, below 1 while it is faded in."""

    def grow_to(self, resolution: int, fade: Fade) -> None:
        """Set the current resolution (pixels) and the weight of its newest layers (0 to 1)."""
        self.resolution, self.fade = resolution, fade

    def forward(self, images: Tensor, noise: Tensor, prior: Tensor | None = None) -> Generated:
        """The training pass: reconstruct ``images`` with z = μ + σ·``noise``, and decode ``prior``.

        ``noise`` is [N, D], ``prior`` [M, D] or None; both standard normal.
        """
        mu, logvar = self.encoder(images, self.resolution, self.fade)
        z = mu + (0.5 * logvar).exp() * noise
        if prior is None:
            return Generated(self.decoder(z, self.resolution, self.fade), None, mu, logvar)
        # One call with the batch statistics of two: the samples' first, then the reconstructions'.
        sizes = [len(prior), len(z)]
        made = self.decoder(torch.cat([prior.to(z), z]), self.resolution, self.fade, sizes)
        sample, reconstruction = made.split(sizes)
        return Generated(reconstruction, sample, mu, logvar)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return (μ, log σ²) of q(z|x), each [N, D], for images [N, C, r, r] in [-1, 1].

        Raises ValueError when the images do not have the model's channels and resolution.
        """
        self._check_images(images)
        mu, logvar = self.encoder(images, self.resolution, self.fade)
        return mu, logvar

    def decode(self, z: Tensor) -> Tensor:
        """Map latents [N, D] to images [N, C, r, r] in [-1, 1]."""
        if z.dim() != 2 or z.shape[1] != self.config.model.latent_dim:
            raise ValueError(
                f"latents must have shape [N, {self.config.model.latent_dim}], not {list(z.shape)}"
            )
        images: Tensor = self.decoder(z, self.resolution, self.fade)
        return images.clamp(-1, 1)

    def reconstruct(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode and decode: the mean μ or, given a random ``generator``, a draw from q(z|x)."""
        mu, logvar = self.encode(images)
        if generator is not None:
            noise = torch.randn(mu.shape, generator=generator, device=generator.device)
            mu = mu + (0.5 * logvar).exp() * noise.to(mu)
        return self.decode(mu)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Decode ``n`` draws from the prior to images [n, C, r, r] in [-1, 1]."""
        place = next(self.parameters())
        device = place.device if generator is None else generator.device
        z = torch.randn(n, self.config.model.latent_dim, generator=generator, device=device)
        return self.decode(z.to(place))

    def parts(self) -> dict[str, list[nn.Module]]:
        """The modules that are optimized together, by part name."""
        return {
            f"{name}.{part}": modules
            for name, network in (("encoder", self.encoder), ("decoder", self.decoder))
            for part, modules in network.parts().items()
        }

    def at_work(self) -> set[str]:
        """The parts that receive gradients at the current resolution and fade."""
        return {
            f"{name}.{part}"
            for name, network in (("encoder", self.encoder), ("decoder", self.decoder))
            for part in network.at_work(self.resolution, self.fade)
        }

    def _check_images(self, images: Tensor) -> None:
        expected = [self.config.model.channels, self.resolution, self.resolution]
        if images.dim() != 4 or list(images.shape[1:]) != expected:
            raise ValueError(
                f"images must have shape [N, {', '.join(map(str, expected))}], "
                f"not {list(images.shape)}"
            )
        if not images.is_floating_point():
            raise ValueError(f"images must be float in [-1, 1], not {images.dtype}")
