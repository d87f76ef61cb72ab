"""The generator's update: encoder and decoder learn to fool D, or to rebuild their input."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dcvae.config import ObjectiveConfig
from dcvae.models import Generated
from dcvae.objective import gan
from dcvae.objective.kl import kl_divergence
from dcvae.objective.precision import at_least_float32
from dcvae.objective.reconstruction import feature_loss, pixel_loss
from dcvae.updates.loss import Forward, Loss, Noise, Terms
from dcvae.updates.networks import Networks


@dataclass(frozen=True)
class GeneratorUpdate:
    """min_{θ,φ} of Eq. 4 with the KL, and the reconstruction losses of the methods without Eq. 6.

    - ``dcvae`` (Eqs. 5, 8, 9): −½ E[D(x̂)] − ½ E[D(x̃)] + β · KL[q_φ(z|x) ‖ N(0, I)]
    - ``vae_gan`` (Eq. 3): the same + γ · E[‖D_l(x) − D_l(x̂)‖²], D_l the last map of D's trunk
    - ``vae`` (Eq. 1): γ · E[‖x − x̂‖²] + β · KL
    """

    objective: ObjectiveConfig
    autoencoder: Forward | None = None
    """What calls the autoencoder for the backward pass, such as an engine; None: itself."""
    name: ClassVar[str] = "generator"

    def __call__(self, networks: Networks, images: Tensor, noise: Noise) -> Loss:
        """As in :class:`Update`; needs ``noise.prior`` where Eq. 4 is part of the method."""
        forward = self.autoencoder or networks.autoencoder
        made: Generated = forward(images, noise.posterior, noise.prior)
        terms: Terms = {"kl": kl_divergence(*map(at_least_float32, (made.mu, made.logvar)))}
        loss = self.objective.kl_weight * terms["kl"]
        if not self.objective.contrastive:
            rebuilt = self._reconstruction(networks, images, made, noise)
            loss = loss + self.objective.reconstruction_weight * rebuilt[1]
            terms |= [rebuilt]
        if self.objective.adversarial:
            assert made.sample is not None
            sets = [noise.seen_samples(made.sample), noise.seen(made.reconstruction)]
            scores = networks.discriminator(sets, *networks.at, "score")
            sample, reconstruction = map(at_least_float32, scores)
            terms["gan_generator"] = gan.generator_loss(reconstruction, sample)
            loss = loss + self.objective.gan_weight * terms["gan_generator"]
        return Loss(loss, terms)

    def _reconstruction(
        self, networks: Networks, images: Tensor, made: Generated, noise: Noise
    ) -> tuple[str, Tensor]:
        if not self.objective.adversarial:
            return "pixel", pixel_loss(images, made.reconstruction)
        with torch.no_grad():
            real = networks.discriminator.features(noise.seen(images), *networks.at).high
        seen = noise.seen(made.reconstruction)
        fake = networks.discriminator.features(seen, *networks.at).high
        return "feature", feature_loss(real, fake)

    def trains(self, networks: Networks) -> dict[str, set[str]]:
        """Encoder and decoder."""
        return {"autoencoder": networks.autoencoder.at_work()}
