"""One training step: the updates of Eq. 9, through engines, in a precision, over ranks.

A step is made on one global batch for each update of the discriminator. As in the released code,
the generator's and the contrastive update come after the first of them, on the same images.
"""

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dcvae.config import Config
from dcvae.objective.augmentation import DRAWS
from dcvae.training import randomness, ranks
from dcvae.training.engines import Engine, frozen
from dcvae.training.randomness import Rows
from dcvae.training.schedule import Stage
from dcvae.updates import (
    ContrastiveUpdate,
    DiscriminatorUpdate,
    GeneratorUpdate,
    Networks,
    Noise,
    Terms,
    Update,
)


@dataclass(frozen=True)
class MicroBatch:
    """This rank's rows of one micro-batch."""

    images: Tensor
    """[N, C, r, r] in [-1, 1], mirrored and faded."""
    rows: Rows
    """Which N rows of the global batch they are."""


@dataclass
class TrainingStep:
    """Makes steps on the networks through their engines: one for each of ``networks.trained``."""

    config: Config
    networks: Networks
    engines: dict[str, Engine]
    terms: dict[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        objective = self.config.objective
        autoencoder, dual_encoder = (self.engines.get(n) for n in ("autoencoder", "dual_encoder"))
        self.discriminator = DiscriminatorUpdate(objective, dual_encoder)
        self.generator = GeneratorUpdate(objective, autoencoder)
        self.contrastive = ContrastiveUpdate(objective, autoencoder, dual_encoder)

    def __call__(self, batches: list[list[MicroBatch]], images: int) -> Terms:
        """Make one step on ``batches``, a list of micro-batches for each discriminator update.

        ``images`` is the number of real images shown before the step. Returns each loss term and
        the contrastive accuracy as means over this rank's images, on the device, without gradient.
        """
        self.terms = {}
        objective, (first, *others) = self.config.objective, batches
        if objective.adversarial:
            self.update(self.discriminator, first, images)
        if objective.adversarial or not objective.contrastive:
            self.update(self.generator, first, images)
        if objective.contrastive:
            self.networks.update_keys()
            self.update(self.contrastive, first, images)
        count = sum(batch[0].rows.total for batch in batches)
        self.networks.update_average(count, images + count)
        for batch in others:
            self.update(self.discriminator, batch, images)
        return {name: torch.stack(values).mean() for name, values in self.terms.items()}

    def enter(self, stage: Stage) -> None:
        """Grow the networks to ``stage``, and take the learning rate of its phase."""
        self.networks.grow_to(stage.phase.resolution, stage.fade)
        for engine in self.engines.values():
            engine.set_learning_rate(self.config.training.rate_in(stage.phase))

    def update(self, update: Update, batch: list[MicroBatch], images: int) -> None:
        """Minimise the loss of one update on the micro-batches of a global batch, by one step.

        ``images`` as for the whole step. The keys of the images, if the update makes any, become
        negatives after it.
        """
        trained = update.trains(self.networks)
        first, *_ = (self.engines[name] for name in trained)
        new_keys = []
        with ExitStack() as resting:
            for name, network in self.networks.trained.items():
                if name not in trained:
                    resting.enter_context(frozen(network))
            for micro in batch:
                noise = self.noise(update, micro, images)
                with self._precision():
                    loss = update(self.networks, micro.images, noise)
                first.backward(loss.value / len(batch))
                new_keys.append(loss.keys)
                for name, term in loss.terms.items():
                    self.terms.setdefault(name, []).append(term.detach())
        for name, parts in trained.items():
            self.engines[name].step(parts)
        for keys in new_keys:
            for layer, rows in keys.items():
                self.networks.push(layer, ranks.gather_rows(rows))

    def noise(self, update: Update, micro: MicroBatch, images: int) -> Noise:
        """The random numbers of ``update`` on ``micro``, in the step after ``images`` images."""
        objective, rows, like = self.config.objective, micro.rows, micro.images
        d, name = self.config.model.latent_dim, update.name
        posterior, augmentation = rows.normal(f"{name}/posterior", d).to(like), None
        if objective.augment:
            augmentation = rows.uniform(f"{name}/augmentation", DRAWS).to(like)
        if update is self.contrastive:
            patch = self._patch_location(images)
            return Noise(posterior, augmentation=augmentation, patch=patch)
        if not objective.adversarial:
            return Noise(posterior)
        ratio = self.config.training.generator_batch_ratio if update is self.generator else 1
        mixtures = prior_augmentation = None
        if update is self.discriminator and objective.gan_loss == "wgan_gp":
            mixtures = rows.uniform("mixtures").to(like)
        if objective.augment:
            drawn = rows.uniform(f"{name}/prior augmentation", DRAWS, ratio)
            prior_augmentation = drawn.to(like)
        return Noise(
            posterior,
            rows.normal(f"{name}/prior", d, ratio).to(like),
            mixtures,
            rows.first,
            augmentation,
            prior_augmentation,
        )

    def _patch_location(self, images: int) -> tuple[int, int] | None:
        """The location of this step's local patches (4.1), equal on all ranks; none: not yet."""
        after = self.config.objective.local_patches_after
        if after is None or images < after:
            return None
        seed = self.config.training.seed
        side = self.networks.discriminator.patch_side
        row, column = randomness.whole_numbers(side, 2, seed, images, "patch")
        return row, column

    def _precision(self) -> torch.autocast | nullcontext[None]:
        if self.config.training.precision == "float32":
            return nullcontext()
        device = next(self.networks.parameters()).device.type
        return torch.autocast(device, torch.bfloat16)
