"""One training step: the discriminator, generator and contrastive phases (Eq. 9).

A step is made on one global batch for each discriminator phase; the generator and contrastive
phases use the last of them. The four methods of Table 1 run through the same phases:

=================  =============  ==========================  ===========
method             discriminator  generator                   contrastive
=================  =============  ==========================  ===========
vae                               pixels + KL
vae_gan            Eq. 4          Eq. 4 + D's features + KL
vae_contrastive                                               Eq. 6 + KL
dcvae              Eq. 4          Eq. 4 + KL                  Eq. 6 + KL
=================  =============  ==========================  ===========

Every term is a mean per image, and ranks have equal shares, so the mean of the ranks' gradients is
the gradient of the global batch.
"""

from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dcvae.config import Config
from dcvae.models import Generated
from dcvae.models.dual_encoder import FeatureMaps
from dcvae.objective import gan
from dcvae.objective.instance import info_nce, instance_accuracy, instance_logits
from dcvae.objective.kl import kl_divergence
from dcvae.objective.precision import at_least_float32
from dcvae.objective.reconstruction import feature_loss, pixel_loss
from dcvae.training import randomness, ranks
from dcvae.training.engines import Engine, frozen
from dcvae.training.networks import Networks
from dcvae.training.randomness import Rows

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class MicroBatch:
    """This rank's rows of one micro-batch."""

    images: Tensor
    """[N, C, r, r] in [-1, 1], mirrored and faded."""
    rows: Rows
    """Which N rows of the global batch they are."""


@dataclass
class TrainingStep:
    """Makes steps on the networks through their engines."""

    config: Config
    networks: Networks
    autoencoder: Engine
    dual_encoder: Engine | None
    terms: dict[str, list[Tensor]] = field(default_factory=dict)

    def __call__(self, batches: list[list[MicroBatch]], images: int) -> Terms:
        """Make one step on ``batches``, a list of micro-batches for each discriminator phase.

        ``images`` is the number of real images shown before the step. Returns each loss term and
        the contrastive accuracy as means over this rank's images, on the device, without gradient.
        """
        self.terms = {}
        objective = self.config.objective
        if objective.adversarial:
            for batch in batches:
                self._discriminator_phase(batch)
        if objective.adversarial or not objective.contrastive:
            self._generator_phase(batches[-1])
        if objective.contrastive:
            self._contrastive_phase(batches[-1], images)
        self.networks.update_average()
        return {name: torch.stack(values).mean() for name, values in self.terms.items()}

    # -- the phases ----------------------------------------------------------------------------

    def _discriminator_phase(self, batch: list[MicroBatch]) -> None:
        """max_D of Eq. 4: D alone, on real images and two kinds of fakes."""
        assert self.dual_encoder is not None
        for micro in batch:
            with self._precision():
                with torch.no_grad():
                    fakes = self._generate(micro, "discriminator", network=True)
                loss = self._discriminator_loss(micro, fakes)
            self.dual_encoder.backward(loss / len(batch))
        self.dual_encoder.step(self._dual_at_work("score"))

    def _generator_phase(self, batch: list[MicroBatch]) -> None:
        """min_{θ,φ} of Eq. 4 and the methods' other terms: encoder and decoder alone."""
        dual_encoder = self.networks.dual_encoder
        for micro in batch:
            with self._precision(), frozen(dual_encoder):
                made = self._generate(micro, "generator")
                loss = self._kl("kl", made) + self._reconstruction_loss(micro, made)
                if self.config.objective.adversarial:
                    loss = loss + self._adversarial_loss(made)
                self.autoencoder.backward(loss / len(batch))
        self.autoencoder.step(self.networks.autoencoder.at_work())

    def _contrastive_phase(self, batch: list[MicroBatch], images: int) -> None:
        """min_{θ,φ,D} of Eq. 6: reconstructions and D agree on which image is which."""
        assert self.dual_encoder is not None
        self.networks.update_keys()
        location = self._patch_location(images)
        new_keys = []
        for micro in batch:
            with self._precision():
                made = self._generate(micro, "contrastive", prior=False)
                loss, keys = self._instance_loss(micro, made, location)
                loss = loss + self._kl("kl_contrastive", made)
            self.autoencoder.backward(loss / len(batch))
            new_keys.append(keys)
        self.autoencoder.step(self.networks.autoencoder.at_work())
        self.dual_encoder.step(self._dual_at_work("embed"))
        for keys in new_keys:
            for name, rows in keys.items():
                self.networks.queues[name].push(ranks.gather_rows(rows))  # type: ignore[operator]

    # -- the terms -----------------------------------------------------------------------------

    def _discriminator_loss(self, micro: MicroBatch, fakes: Generated) -> Tensor:
        """Eq. 4 for D, with the gradient penalty of the Wasserstein form."""
        objective = self.config.objective
        assert self.dual_encoder is not None
        assert fakes.sample is not None
        parts = (micro.images, fakes.reconstruction, fakes.sample)
        real, reconstruction, sample = self._scores(list(parts), self.dual_encoder)
        if objective.gan_loss == "hinge":
            loss = gan.hinge_discriminator(real, reconstruction, sample)
            return self._term("gan_discriminator", loss)
        loss = gan.wasserstein_discriminator(real, reconstruction, sample, objective.drift)
        epsilon = micro.rows.uniform("mixtures").to(real)
        mixture = gan.mixtures(*parts, epsilon, micro.rows.first)
        # Not through the engine, whose hooks would take the inner gradient for the outer one.
        (mixed,) = self._scores([mixture])
        penalty = self._term("gradient_penalty", gan.gradient_penalty(mixture, mixed))
        return self._term("gan_discriminator", loss) + objective.gradient_penalty * penalty

    def _adversarial_loss(self, made: Generated) -> Tensor:
        """Eq. 4 for encoder and decoder; D is frozen."""
        assert made.sample is not None
        reconstruction, sample = self._scores([made.reconstruction, made.sample])
        loss = self._term("gan_generator", gan.generator(reconstruction, sample))
        return self.config.objective.gan_weight * loss

    def _reconstruction_loss(self, micro: MicroBatch, made: Generated) -> Tensor:
        """Eq. 1's pixels for ``vae``, Eq. 3's features for ``vae_gan``, nothing for ``dcvae``."""
        objective = self.config.objective
        if objective.contrastive:
            return made.mu.new_zeros(())
        if not objective.adversarial:
            loss = self._term("pixel", pixel_loss(micro.images, made.reconstruction))
        else:
            with torch.no_grad():
                real = self._features(micro.images).high
            fake = self._features(made.reconstruction).high
            loss = self._term("feature", feature_loss(real, fake))
        return objective.reconstruction_weight * loss

    def _instance_loss(
        self, micro: MicroBatch, made: Generated, location: tuple[int, int] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 6 over the contrasted layers, equal weights; and this rank's keys, by layer."""
        objective, (resolution, fade) = self.config.objective, self._at()
        assert self.dual_encoder is not None
        with torch.no_grad():
            keys = self.networks.key_encoder([micro.images], resolution, fade, "embed", location)[0]
        queries = self.dual_encoder([made.reconstruction], resolution, fade, "embed", location)[0]
        losses = []
        for name, query in queries.items():
            negatives = self.networks.queues[name].valid()  # type: ignore[operator]
            logits = instance_logits(query, keys[name], negatives, objective.temperature)
            losses.append(self._term(f"instance_{name}", info_nce(logits)))
            self._term(f"accuracy_{name}", instance_accuracy(logits.detach()))
        return objective.instance_weight * torch.stack(losses).mean(), keys

    def _kl(self, name: str, made: Generated) -> Tensor:
        """The weighted KL of Eqs. 1, 3 and 8."""
        loss = kl_divergence(at_least_float32(made.mu), at_least_float32(made.logvar))
        return self.config.objective.kl_weight * self._term(name, loss)

    # -- networks and random numbers -----------------------------------------------------------

    def _generate(
        self, micro: MicroBatch, phase: str, *, prior: bool = True, network: bool = False
    ) -> Generated:
        """Reconstructions, and samples where Eq. 4 needs them; ``network``: without the engine."""
        d = self.config.model.latent_dim
        noise = micro.rows.normal(f"{phase}/posterior", d).to(micro.images)
        samples = None
        if prior and self.config.objective.adversarial:
            ratio = 1 if network else self.config.training.generator_batch_ratio
            samples = micro.rows.normal(f"{phase}/prior", d, ratio).to(micro.images)
        forward = self.networks.autoencoder if network else self.autoencoder
        made: Generated = forward(micro.images, noise, samples)
        return made

    def _scores(self, parts: list[Tensor], engine: Engine | None = None) -> list[Tensor]:
        forward = engine or self.networks.dual_encoder
        return [at_least_float32(score) for score in forward(parts, *self._at(), "score")]

    def _features(self, images: Tensor) -> FeatureMaps:
        return self.networks.dual_encoder.features(images, *self._at())

    def _at(self) -> tuple[int, float]:
        return self.networks.autoencoder.resolution, self.networks.autoencoder.fade

    def _dual_at_work(self, head: str) -> set[str]:
        return self.networks.dual_encoder.at_work(*self._at(), head)

    def _patch_location(self, images: int) -> tuple[int, int] | None:
        """The location of this step's local patches (4.1), equal on all ranks; none: not yet."""
        after = self.config.objective.local_patches_after
        if after is None or images < after:
            return None
        seed = self.config.training.seed
        side = self.networks.dual_encoder.patch_side
        row, column = randomness.whole_numbers(side, 2, seed, images, "patch")
        return row, column

    def _precision(self) -> torch.autocast | nullcontext[None]:
        if self.config.training.precision == "float32":
            return nullcontext()
        device = next(self.networks.parameters()).device.type
        return torch.autocast(device, torch.bfloat16)

    def _term(self, name: str, value: Tensor) -> Tensor:
        self.terms.setdefault(name, []).append(value.detach())
        return value
