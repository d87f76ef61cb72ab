"""One training step: the updates of Eq. 9, through engines, in some precision, over all ranks.

A step takes one global batch per discriminator update. As in the released code, the generator's and
the contrastive update follow the first of these, on the same images.
"""

import itertools
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from dcvae.config import Config
from dcvae.models.layers import fading
from dcvae.objective.augmentation import DRAWS
from dcvae.training import randomness, ranks
from dcvae.training.engines import Engine, frozen
from dcvae.training.graphs import Graphs
from dcvae.training.randomness import Rows
from dcvae.training.schedule import Stage
from dcvae.training.transfer import Packet
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
    """Which N rows of the global batch these are."""


@dataclass
class TrainingStep:
    """Makes training steps; there is one engine for each of ``networks.trained``."""

    config: Config
    networks: Networks
    engines: dict[str, Engine]
    graphs: Graphs = field(default_factory=lambda: Graphs(None))
    """Records updates and replays them."""
    terms: dict[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        objective = self.config.objective
        autoencoder, dual_encoder = (self.engines.get(n) for n in ("autoencoder", "dual_encoder"))
        self.discriminator = DiscriminatorUpdate(objective, dual_encoder)
        self.generator = GeneratorUpdate(objective, autoencoder)
        self.contrastive = ContrastiveUpdate(objective, autoencoder, dual_encoder)
        self.packet = Packet(next(self.networks.parameters()).device)

    def __call__(self, batches: list[list[MicroBatch]], images: int) -> Terms:
        """Make one step on ``batches``, one list of micro-batches per discriminator update.

        ``images`` is the number of real images shown before the step. Returns the loss terms and
        contrastive accuracies as means over this rank's images, on the device, without gradient.
        """
        self.terms = {}
        objective, (first, *others) = self.config.objective, batches
        work: list[tuple[Update, list[MicroBatch]]] = []
        if objective.adversarial:
            work.append((self.discriminator, first))
        if objective.adversarial or not objective.contrastive:
            work.append((self.generator, first))
        if objective.contrastive:
            work.append((self.contrastive, first))
        until_average = len(work)
        count = sum(batch[0].rows.total for batch in batches)
        work += [(self.discriminator, batch) for batch in others]
        noises = self._sent(
            [[self.noise(update, micro, images) for micro in batch] for update, batch in work]
        )
        for number, ((update, batch), noise) in enumerate(zip(work, noises, strict=True), 1):
            self._minimise(update, batch, noise)
            if number == until_average:
                self.networks.update_average(count, images + count)
        return self._means()

    def enter(self, stage: Stage) -> None:
        """Grow the networks to ``stage``, and set the learning rate of its phase."""
        self.networks.grow_to(stage.phase.resolution, stage.fade)
        for engine in self.engines.values():
            engine.set_learning_rate(self.config.training.rate_in(stage.phase))

    def update(self, update: Update, batch: list[MicroBatch], images: int) -> None:
        """A single update; ``images`` as for the whole step."""
        (noises,) = self._sent([[self.noise(update, micro, images) for micro in batch]])
        self._minimise(update, batch, noises)

    def _minimise(self, update: Update, batch: list[MicroBatch], noises: list[Noise]) -> None:
        """One optimizer step on the loss of ``update`` over the micro-batches of a global batch.

        Keys that the update makes are then gathered from all ranks and pushed as negatives.
        """
        trained = update.trains(self.networks)
        if update is self.contrastive:
            self.networks.update_keys()
        given = [
            [micro.images, *_tensors(noise).values()]
            for micro, noise in zip(batch, noises, strict=True)
        ]
        sizes = [len(tensors) for tensors in given]

        def work(inputs: list[Tensor]) -> dict[str, Tensor]:
            each = iter(inputs)
            mine = [list(itertools.islice(each, size)) for size in sizes]
            images = [tensors[0] for tensors in mine]
            noise = [_with(n, tensors[1:]) for n, tensors in zip(noises, mine, strict=True)]
            return self._made(update, trained, images, noise)

        inputs = [tensor for tensors in given for tensor in tensors]
        made = self.graphs.run(update.name, self._key(update, noises, inputs), inputs, work)
        for name, parts in trained.items():
            self.engines[name].count(parts)
        new_keys: dict[int, dict[str, Tensor]] = {}
        for name, value in made.items():
            kind, number, name = name.split("/")
            if kind == "term":
                self.terms.setdefault(name, []).append(value)
            else:
                new_keys.setdefault(int(number), {})[name] = value
        for keys in new_keys.values():
            for layer, rows in ranks.gather_together(keys).items():
                self.networks.push(layer, rows)

    def _made(
        self,
        update: Update,
        trained: dict[str, set[str]],
        images: list[Tensor],
        noises: list[Noise],
    ) -> dict[str, Tensor]:
        """The part of an update that runs on the device: losses, gradients, the optimizer step.

        Returns ``term/<micro-batch>/<name>`` and ``key/<micro-batch>/<layer>``.
        """
        made: dict[str, Tensor] = {}
        engines = [self.engines[name] for name in trained]
        with ExitStack() as resting:
            for name, network in self.networks.trained.items():
                if name not in trained:
                    resting.enter_context(frozen(network))
            for number, (x, noise) in enumerate(zip(images, noises, strict=True)):
                with self._precision():
                    loss = update(self.networks, x, noise)
                if number == len(images) - 1:
                    for engine, parts in zip(engines, trained.values(), strict=True):
                        engine.expect(parts)
                engines[0].backward(loss.value / len(images))
                made |= {f"term/{number}/{name}": t.detach() for name, t in loss.terms.items()}
                made |= {f"key/{number}/{layer}": rows for layer, rows in loss.keys.items()}
        for engine, parts in zip(engines, trained.values(), strict=True):
            engine.step(parts)
        return made

    def _key(
        self, update: Update, noises: list[Noise], inputs: list[Tensor]
    ) -> tuple[object, ...] | None:
        """What the host decides in ``update``; None if that differs at every step.

        It does until the queues of negatives are full. The weight of a resolution that fades in and
        the location of local patches differ too, but only the device reads them.
        """
        resolution, fade = self.networks.at
        if update is self.contrastive and not self.networks.full:
            return None
        shapes = [(tuple(tensor.shape), tensor.dtype) for tensor in inputs]
        firsts = [noise.first for noise in noises]
        rates = [g["lr"] for engine in self.engines.values() for g in engine.adam.param_groups]
        return (resolution, fading(fade), *shapes, *firsts, *rates)

    def _means(self) -> Terms:
        """The mean of each term, computed in one operation for all."""
        values = torch.stack([value for values in self.terms.values() for value in values])
        parts = torch.split(values, [len(values) for values in self.terms.values()])
        return {
            name: part[0] if len(part) == 1 else part.mean()
            for name, part in zip(self.terms, parts, strict=True)
        }

    # -- random numbers ------------------------------------------------------------------------

    def noise(self, update: Update, micro: MicroBatch, images: int) -> Noise:
        """The random numbers of ``update`` on ``micro``, in the step after ``images`` images.

        It is on the host, in the precision of the images.
        """
        objective, rows, dtype = self.config.objective, micro.rows, micro.images.dtype
        d, name = self.config.model.latent_dim, update.name
        posterior, augmentation = rows.normal(f"{name}/posterior", d).to(dtype), None
        if objective.augment:
            augmentation = rows.uniform(f"{name}/augmentation", DRAWS).to(dtype)
        if update is self.contrastive:
            patch = self._patch_location(images)
            return Noise(posterior, augmentation=augmentation, patch=patch)
        if not objective.adversarial:
            return Noise(posterior)
        ratio = self.config.training.generator_batch_ratio if update is self.generator else 1
        mixtures = prior_augmentation = None
        if update is self.discriminator and objective.gan_loss == "wgan_gp":
            mixtures = rows.uniform("mixtures").to(dtype)
        if objective.augment:
            drawn = rows.uniform(f"{name}/prior augmentation", DRAWS, ratio)
            prior_augmentation = drawn.to(dtype)
        return Noise(
            posterior,
            rows.normal(f"{name}/prior", d, ratio).to(dtype),
            mixtures,
            rows.first,
            augmentation,
            prior_augmentation,
        )

    def _sent(self, noises: list[list[Noise]]) -> list[list[Noise]]:
        """Copy the noise of a whole step to the device at once."""
        tensors = [t for some in noises for noise in some for t in _tensors(noise).values()]
        each = iter(self.packet.send(tensors))
        return [
            [_with(noise, list(itertools.islice(each, len(_tensors(noise))))) for noise in some]
            for some in noises
        ]

    def _patch_location(self, images: int) -> Tensor | None:
        """The location of this step's local patches (4.1), equal on all ranks; None: not yet.

        [1], row · side + column of the map.
        """
        after = self.config.objective.local_patches_after
        if after is None or images < after:
            return None
        seed = self.config.training.seed
        side = self.networks.discriminator.patch_side
        row, column = randomness.whole_numbers(side, 2, seed, images, "patch")
        return torch.tensor([float(row * side + column)])

    def _precision(self) -> torch.autocast | nullcontext[None]:
        if self.config.training.precision != "bfloat16":
            return nullcontext()
        device = next(self.networks.parameters()).device.type
        return torch.autocast(device, torch.bfloat16)


def _tensors(noise: Noise) -> dict[str, Tensor]:
    found = {field.name: getattr(noise, field.name) for field in fields(noise)}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _with(noise: Noise, tensors: list[Tensor]) -> Noise:
    """``noise`` with its tensors replaced."""
    given: dict[str, Any] = dict(zip(_tensors(noise), tensors, strict=True))
    return replace(noise, **given)
