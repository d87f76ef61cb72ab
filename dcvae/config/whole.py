"""The whole configuration of a run, and the combinations that it refuses."""

import hashlib
import json
import math
from typing import Self

from pydantic import Field, model_validator

from dcvae.config.data import DataConfig
from dcvae.config.model import AUTOGAN_RESOLUTION, STDDEV_GROUP, ModelConfig
from dcvae.config.objective import ObjectiveConfig
from dcvae.config.section import OPERATIONAL, Section
from dcvae.config.training import TrainingConfig
from dcvae.errors import UserError


class Config(Section):
    """Everything that determines what a training run computes."""

    preset: str = Field(min_length=1)
    """The named configuration that this one started from."""
    model: ModelConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig
    data: DataConfig = DataConfig()

    @model_validator(mode="after")
    def _phases_grow(self) -> Self:
        """``training.phases`` are in order of their resolutions."""
        resolutions = [p.resolution for p in self.training.phases]
        if resolutions != sorted(resolutions):
            raise ValueError(
                f"training.phases go {resolutions}; a model only grows, so order them by resolution"
            )
        return self

    @model_validator(mode="after")
    def _phases_end_at_the_model(self) -> Self:
        """The last of ``training.phases`` has the resolution ``model.resolution``."""
        last = self.training.phases[-1].resolution
        if last != self.model.resolution:
            raise ValueError(
                f"training.phases end at resolution {last} but model.resolution is "
                f"{self.model.resolution}; make them equal"
            )
        return self

    @model_validator(mode="after")
    def _autogan_does_not_grow(self) -> Self:
        """With ``model.backbone=autogan``, every phase has the resolution 32."""
        first = self.training.phases[0].resolution
        if self.model.backbone == "autogan" and first != AUTOGAN_RESOLUTION:
            raise ValueError(
                "model.backbone=autogan does not grow; give every phase the resolution 32"
            )
        return self

    @model_validator(mode="after")
    def _autogan_keeps_activations(self) -> Self:
        """``training.checkpoint_activations_from`` is not for ``model.backbone=autogan``."""
        recomputed = self.training.checkpoint_activations_from is not None
        if self.model.backbone == "autogan" and recomputed:
            raise ValueError(
                "training.checkpoint_activations_from is for high resolutions, and "
                "model.backbone=autogan has none; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _the_penalty_is_not_clipped(self) -> Self:
        """``training.gradient_clipping`` is not for ``objective.gan_loss=wgan_gp``."""
        if self.training.gradient_clipping and self.objective.gan_loss == "wgan_gp":
            raise ValueError(
                "training.gradient_clipping would change the gradient penalty of "
                "objective.gan_loss=wgan_gp; use objective.gan_loss=hinge or no clipping"
            )
        return self

    def check_ranks(self, world_size: int) -> None:
        """Raise UserError if a phase's batch cannot be divided over ``world_size`` ranks."""
        accumulation = self.training.accumulation
        parts = world_size * accumulation
        common = math.gcd(*(phase.batch_size for phase in self.training.phases))
        for phase in self.training.phases:
            if phase.batch_size % parts:
                working = [n for n in range(1, common + 1) if common % (n * accumulation) == 0]
                raise UserError(
                    f"the batch of {phase.batch_size} at resolution {phase.resolution} does not "
                    f"divide over {world_size} ranks x {accumulation} micro-batches; use a batch "
                    f"size that is a multiple of {parts}"
                    + (f", or --nproc {_alternatives(working)}" if working else "")
                )
            grouped = self.model.backbone == "progan" and self.objective.adversarial
            if grouped and accumulation > 1 and phase.batch_size // accumulation % STDDEV_GROUP:
                working = [n for n in range(1, common + 1) if common % (n * STDDEV_GROUP) == 0]
                raise UserError(
                    f"training.accumulation={accumulation} cuts the batch of {phase.batch_size} at "
                    f"resolution {phase.resolution} into micro-batches that are not a multiple of "
                    f"{STDDEV_GROUP}, the group of the minibatch standard deviation, which would "
                    f"change the result; use {_alternatives(working or [1])}"
                )

    @property
    def batches_per_step(self) -> int:
        """Global batches of a step: one for each discriminator update, one if there is none."""
        return self.training.discriminator_steps if self.objective.adversarial else 1

    def differences(self, before: "Config") -> dict[str, list[object]]:
        """Settings that affect the result and differ from ``before``: name → [before, now]."""
        found: dict[str, list[object]] = {}
        old, new = before.model_dump(mode="json"), self.model_dump(mode="json")
        if old["preset"] != new["preset"]:
            found["preset"] = [old["preset"], new["preset"]]
        for section in SECTIONS:
            for name, field in type(getattr(self, section)).model_fields.items():
                values = [old[section][name], new[section][name]]
                if values[0] != values[1] and OPERATIONAL not in field.metadata:
                    found[f"{section}.{name}"] = values
        return found

    def digest(self) -> str:
        """Hex sha256 of the settings that affect the result, so not of intervals or workers."""
        content = self.model_dump(mode="json")
        for section in SECTIONS:
            for name, field in type(getattr(self, section)).model_fields.items():
                if OPERATIONAL in field.metadata:
                    del content[section][name]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _alternatives(numbers: list[int]) -> str:
    """``4``, or ``1, 2 or 4``."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last


SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig,
    "objective": ObjectiveConfig,
    "training": TrainingConfig,
    "data": DataConfig,
}
"""The sections, whose fields are the settings ``section.key``."""
