"""The discriminator's update: D alone learns to tell real images from two kinds of fakes."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dcvae.config import ObjectiveConfig
from dcvae.objective import gan
from dcvae.objective.precision import at_least_float32, second_derivatives
from dcvae.updates.loss import Forward, Loss, Noise
from dcvae.updates.networks import Networks


@dataclass(frozen=True)
class DiscriminatorUpdate:
    """max_D of Eq. 4, as a loss to be minimised.

    With real images x, reconstructions x̂ = f_θ(z), z ~ q_φ(z|x), and samples x̃ = f_θ(z), z ~ p(z):

    - ``hinge``: E[(1 − D(x))₊] + ½ E[(1 + D(x̂))₊] + ½ E[(1 + D(x̃))₊]
    - ``wgan_gp``: ½ E[D(x̂)] + ½ E[D(x̃)] − E[D(x)] + drift · E[D(x)²]
      + λ · E[(‖∇D(m)‖₂ − 1)²], m between real images and fakes

    If ``objective.augment`` is set, D sees all of them augmented, an image and its reconstruction
    alike. The fakes carry no gradient: only D is trained.
    """

    objective: ObjectiveConfig
    dual_encoder: Forward | None = None
    """What calls D for the backward pass, such as an engine; None: itself."""
    name: ClassVar[str] = "discriminator"

    def __call__(self, networks: Networks, images: Tensor, noise: Noise) -> Loss:
        """As in :class:`Update`; needs ``noise.prior``, and ``noise.mixtures`` for ``wgan_gp``."""
        dual_encoder, at = networks.discriminator, networks.at
        with torch.no_grad():
            made = networks.autoencoder(images, noise.posterior, noise.prior)
            sets = [
                noise.seen(images),
                noise.seen_samples(made.sample),
                noise.seen(made.reconstruction),
            ]
        forward = self.dual_encoder or dual_encoder
        real, sample, reconstruction = map(at_least_float32, forward(sets, *at, "score"))
        if self.objective.gan_loss == "hinge":
            loss = gan.hinge_discriminator(real, reconstruction, sample)
            return Loss(loss, {"gan_discriminator": loss})
        loss = gan.wasserstein_discriminator(real, reconstruction, sample, self.objective.drift)
        assert noise.mixtures is not None
        seen, seen_sample, seen_reconstruction = sets
        mixture = gan.mixtures(seen, seen_reconstruction, seen_sample, noise.mixtures, noise.first)
        with second_derivatives(mixture):
            # Not through an engine, whose hooks would mistake the inner gradient for the outer one.
            (mixed,) = dual_encoder([mixture], *at, "score")
            penalty = gan.gradient_penalty(mixture, at_least_float32(mixed))
        return Loss(
            loss + self.objective.gradient_penalty * penalty,
            {"gradient_penalty": penalty, "gan_discriminator": loss},
        )

    def trains(self, networks: Networks) -> dict[str, set[str]]:
        """The trunk of D and its real/fake head."""
        return {"dual_encoder": networks.discriminator.at_work(*networks.at, "score")}
