"""The model that users work with."""

from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dcvae.config import Config
from dcvae.errors import UserError
from dcvae.inference.export import export
from dcvae.inference.images import Images, as_batch
from dcvae.models import DCVAE
from dcvae.storage import Storage, open_storage


class Posterior(NamedTuple):
    """q(z|x) of N images: a normal distribution with independent dimensions."""

    mu: Tensor
    """[N, latent_dim]"""
    logvar: Tensor
    """log σ², [N, latent_dim]"""


class Model:
    """A trained model: images to latents and back, and new images from the prior.

    It accepts images as :func:`dcvae.inference.images.as_batch` does: PIL images, arrays, tensors,
    or a list of them. It returns tensors on its device and of its dtype, without gradients: latents
    [N, :attr:`latent_dim`], images [N, :attr:`channels`, r, r] in [-1, 1] with r =
    :attr:`resolution`. :func:`dcvae.to_pil` and :func:`dcvae.to_array` convert them to pictures.
    """

    def __init__(self, network: DCVAE) -> None:
        self.network = network.eval()
        """The module itself, for users who want gradients or other weights."""

    @property
    def config(self) -> Config:
        """The configuration it was trained with."""
        return self.network.config

    @property
    def resolution(self) -> int:
        """Side of its images in pixels."""
        return self.network.resolution

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.config.model.channels

    @property
    def latent_dim(self) -> int:
        """Dimensions of a latent."""
        return self.config.model.latent_dim

    @property
    def device(self) -> torch.device:
        """The device it is on."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return next(self.network.parameters()).dtype

    def to(
        self, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move it to another device, or have it compute in another precision.

        Raises:
            UserError: there is no such device, or the dtype is not a floating point type.
        """
        if dtype is not None and not dtype.is_floating_point:
            raise UserError(f"a model computes in a floating point dtype, not {dtype}")
        try:
            self.network.to(device=device, dtype=dtype)
        except (RuntimeError, AssertionError) as error:
            said = str(error).splitlines()[0] if str(error) else "it does not answer"
            raise UserError(
                f"the device {device} cannot be used ({said}); see dcvae doctor, or use cpu"
            ) from None
        return self

    def images(self, images: Images) -> Tensor:
        """Images in any form, converted to the model's: [N, C, r, r] in [-1, 1].

        Raises:
            UserError: they cannot be converted.
        """
        batch = as_batch(images, self.resolution, self.channels)
        return batch.to(device=self.device, dtype=self.dtype)

    @torch.no_grad()
    def encode(self, images: Images) -> Posterior:
        """q(z|x) of images: (μ, log σ²), each [N, latent_dim]."""
        return Posterior(*self.network.encode(self.images(images)))

    @torch.no_grad()
    def decode(self, z: Tensor | NDArray[np.floating]) -> Tensor:
        """Latents [N, latent_dim] or [latent_dim] to images [N, C, r, r] in [-1, 1].

        Raises:
            UserError: latents of another shape.
        """
        latents = torch.as_tensor(z)
        latents = latents[None] if latents.dim() == 1 else latents
        if latents.dim() != 2 or latents.shape[1] != self.latent_dim:
            raise UserError(
                f"latents have shape [N, {self.latent_dim}] or [{self.latent_dim}], not "
                f"{list(np.shape(z))}"
            )
        return self.network.decode(latents.to(device=self.device, dtype=self.dtype))

    @torch.no_grad()
    def reconstruct(self, images: Images, generator: torch.Generator | None = None) -> Tensor:
        """Encode and decode [N, C, r, r]: the mean μ or, given a generator, a draw from q(z|x)."""
        return self.network.reconstruct(self.images(images), generator)

    @torch.no_grad()
    def sample(
        self, n: int = 1, generator: torch.Generator | None = None, *, seed: int | None = None
    ) -> Tensor:
        """``n`` new images [n, C, r, r]; equal seeds, or generators, give equal latents.

        Latents are drawn on the generator's device or, for a seed, on the CPU: the same everywhere.
        """
        if n < 1:
            raise UserError(f"{n} images cannot be made; ask for 1 or more")
        if seed is not None:
            if generator is not None:
                raise UserError("give a seed or a generator, not both")
            generator = torch.Generator().manual_seed(seed)
        return self.network.sample(n, generator)

    def export(self, place: str | Storage) -> None:
        """Write encoder and decoder as programs that need only PyTorch.

        See :func:`dcvae.inference.export.export`.
        """
        export(self.network, open_storage(place) if isinstance(place, str) else place)

    def __repr__(self) -> str:
        return (
            f"Model({self.config.preset}: {self.resolution}x{self.resolution}x{self.channels}, "
            f"{self.latent_dim} latent dimensions, {self.dtype} on {self.device})"
        )
