"""The typed configuration of a run: what it may contain, and what cannot be combined.

A configuration is a preset plus settings (``key=value``), resolved once, saved beside the run and
never changed afterwards. Unknown keys and impossible combinations are refused with one sentence.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dcvae.errors import UserError

Backbone = Literal["progan", "autogan"]
Method = Literal["vae", "vae_gan", "vae_contrastive", "dcvae"]
GanLoss = Literal["hinge", "wgan_gp"]
Precision = Literal["float32", "bfloat16"]

MIN_RESOLUTION = 4
AUTOGAN_RESOLUTION = 32
STDDEV_GROUP = 4
"""Images whose features are compared for Progressive GAN's minibatch standard deviation."""


class _Section(BaseModel):
    """Immutable, keyword-only, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(_Section):
    """The networks: encoder, decoder and dual encoder."""

    backbone: Backbone = "progan"
    resolution: int = 32
    """Side of the finished images in pixels, a power of two."""
    channels: Literal[1, 3] = 3
    """Colour channels of the images: 3 (RGB) or 1 (grey)."""
    latent_dim: int = Field(default=512, ge=1)
    width_base: int = Field(default=8192, ge=1)
    """Progressive GAN: feature maps at resolution r are min(2·width_base / r, width_max)."""
    width_max: int = Field(default=512, ge=4)
    decoder_width: int = Field(default=256, ge=4)
    """AutoGAN: feature maps of the decoder."""
    encoder_width: int = Field(default=128, ge=4)
    """AutoGAN: feature maps of the encoder and the dual encoder."""
    embedding_dim: int = Field(default=16, ge=2)
    """Dimensions of the contrastive embeddings (paper 5.1: 16)."""

    @model_validator(mode="after")
    def _resolution_fits_backbone(self) -> Self:
        r = self.resolution
        if r < MIN_RESOLUTION or r & (r - 1):
            raise ValueError(
                f"model.resolution={r} is not a power of two from 4 up; use 4, 8, 16, … 512 or 1024"
            )
        if self.backbone == "autogan" and r != AUTOGAN_RESOLUTION:
            raise ValueError(
                f"model.backbone=autogan makes 32x32 images, not {r}x{r}; "
                "use model.resolution=32 or model.backbone=progan"
            )
        if self.backbone == "progan" and self.width_base < 4 * self.width_max:
            raise ValueError(
                f"model.width_base={self.width_base} makes 8x8 maps narrower than 4x4 maps, which "
                f"share a head; use at least 4 x model.width_max = {4 * self.width_max}"
            )
        return self


class ObjectiveConfig(_Section):
    """The loss terms, their weights, and the negatives."""

    method: Method = "dcvae"
    """The four methods of the paper's Table 1."""
    gan_loss: GanLoss = "wgan_gp"
    gan_weight: float = Field(default=1.0, ge=0)
    instance_weight: float = Field(default=1.0, ge=0)
    reconstruction_weight: float = Field(default=1.0, ge=0)
    """Pixel loss of ``vae`` (Eq. 1) and feature loss of ``vae_gan`` (Eq. 3)."""
    kl_weight: float = Field(default=6.4e-5, ge=0)
    """Weight of the KL per image (released: 1e-6 times the sum over a batch of 64)."""
    gradient_penalty: float = Field(default=10.0, ge=0)
    """WGAN-GP: weight of (‖∇D‖ − 1)²."""
    drift: float = Field(default=1e-3, ge=0)
    """WGAN-GP: weight of D(x)² on real images."""
    negatives: int = Field(default=8192, ge=1)
    temperature: float = Field(default=0.07, gt=0)
    key_momentum: float = Field(default=0.999, ge=0, le=1)
    local_patches_after: int | None = Field(default=None, ge=0)
    """Images after which local patches (4.1) are contrasted too; none: never."""

    @property
    def adversarial(self) -> bool:
        """Whether Eq. 4 is part of the objective."""
        return self.method in ("vae_gan", "dcvae")

    @property
    def contrastive(self) -> bool:
        """Whether Eq. 6 is part of the objective."""
        return self.method in ("vae_contrastive", "dcvae")

    @property
    def uses_d(self) -> bool:
        """Whether the method has a dual encoder, D."""
        return self.adversarial or self.contrastive


class Phase(_Section):
    """One stage of progressive growth, measured in real images shown to the model."""

    resolution: int
    images: int = Field(ge=0)
    """Images at full weight of this resolution."""
    fade_images: int = Field(default=0, ge=0)
    """Images during which this resolution is faded in, before ``images``."""
    batch_size: int = Field(ge=1)
    """Images a step over all ranks."""

    @model_validator(mode="after")
    def _is_a_stage(self) -> Self:
        r = self.resolution
        if r < MIN_RESOLUTION or r & (r - 1):
            raise ValueError(
                f"a phase has resolution {r}, which is not a power of two from 4 up; "
                "use 4, 8, 16, … 512 or 1024"
            )
        if self.images + self.fade_images == 0:
            raise ValueError(
                f"the phase at resolution {r} has no images; give it some or remove it"
            )
        return self


class TrainingConfig(_Section):
    """The schedule, the optimizer, and what is written when. Every interval is in images."""

    phases: tuple[Phase, ...] = Field(min_length=1)
    seed: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    adam_betas: tuple[float, float] = (0.0, 0.99)
    adam_eps: float = Field(default=1e-8, gt=0)
    discriminator_steps: int = Field(default=1, ge=1)
    """Discriminator steps for each generator and contrastive step."""
    generator_batch_ratio: int = Field(default=1, ge=1)
    """Prior samples in a generator step, as a multiple of the batch."""
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the averaged weights, at each generator step."""
    mirror: bool = False
    """Flip half of the images left to right."""
    precision: Precision = "float32"
    accumulation: int = Field(default=1, ge=1)
    """Micro-batches whose gradients make one step."""
    gradient_clipping: float = Field(default=0.0, ge=0)
    zero_stage: Literal[0, 1, 2] = 0
    checkpoint_activations_from: int | None = Field(default=None, ge=MIN_RESOLUTION)
    """Progressive GAN: blocks of this resolution (pixels) and above keep only their input and are
    computed again for the gradient: less memory, more time, the same numbers; none: no block."""
    log_images: int = Field(default=4_000, ge=1)
    sample_images: int = Field(default=100_000, ge=1)
    checkpoint_images: int = Field(default=200_000, ge=1)
    keep_checkpoints: int = Field(default=3, ge=1)
    """The last so many are kept, and the one at the end of each phase."""
    snapshot_images: int = Field(default=1_000_000, ge=1)
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Prometheus port of a node's first rank, the next adds 1; 0: any free one; none: no server."""

    log_communication: bool = False
    """Write what DeepSpeed's collectives cost into the run folder, with each checkpoint."""
    profile_flops: bool = False
    """Write what each phase's first step computes into the run folder, by DeepSpeed's profiler."""

    @property
    def total_images(self) -> int:
        """Real images of the whole schedule."""
        return sum(p.images + p.fade_images for p in self.phases)


class DataConfig(_Section):
    """How the shard set is read."""

    split: str = "train"
    lanes: int = Field(default=8, ge=1)
    """Places of an epoch that are read at once; part of the order, so part of the result."""
    workers: int = Field(default=2, ge=1)
    """Threads that fetch and decode ahead of each rank."""
    cache_dir: str | None = None
    """Folder on a local disk for shards that have been read, shared by all ranks there; none: off.
    """
    cache_bytes: int = Field(default=20 * 2**30, ge=1)
    """Size that the folder may grow to; the shards not used for longest go first."""


_OPERATIONAL = {
    "training": (
        "accumulation",
        "zero_stage",
        "checkpoint_activations_from",
        "log_images",
        "sample_images",
        "checkpoint_images",
        "snapshot_images",
        "keep_checkpoints",
        "metrics_port",
        "log_communication",
        "profile_flops",
    ),
    "data": ("workers", "cache_dir", "cache_bytes"),
}


class Config(_Section):
    """Everything that decides what a training run computes."""

    preset: str
    model: ModelConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig
    data: DataConfig = DataConfig()

    @model_validator(mode="after")
    def _phases_grow_to_the_model(self) -> Self:
        resolutions = [p.resolution for p in self.training.phases]
        if resolutions != sorted(resolutions):
            raise ValueError(
                f"training.phases go {resolutions}; a model only grows, so order them by resolution"
            )
        if resolutions[-1] != self.model.resolution:
            raise ValueError(
                f"training.phases end at resolution {resolutions[-1]} but model.resolution is "
                f"{self.model.resolution}; make them equal"
            )
        if self.model.backbone == "autogan" and resolutions[0] != AUTOGAN_RESOLUTION:
            raise ValueError(
                "model.backbone=autogan does not grow; give every phase the resolution 32"
            )
        if (
            self.model.backbone == "autogan"
            and self.training.checkpoint_activations_from is not None
        ):
            raise ValueError(
                "training.checkpoint_activations_from is for high resolutions, and "
                "model.backbone=autogan has none; leave it out"
            )
        if self.training.gradient_clipping and self.objective.gan_loss == "wgan_gp":
            raise ValueError(
                "training.gradient_clipping would change the gradient penalty of "
                "objective.gan_loss=wgan_gp; use objective.gan_loss=hinge or no clipping"
            )
        return self

    def check_ranks(self, world_size: int) -> None:
        """Raise UserError when a phase's batch cannot be divided over ``world_size`` ranks."""
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

    def digest(self) -> str:
        """Hex sha256 of what decides the result: not of intervals, workers or how ranks share."""
        content = self.model_dump(mode="json")
        for section, names in _OPERATIONAL.items():
            for name in names:
                del content[section][name]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def parse_config(content: object) -> Config:
    """Validate ``content`` (a mapping, as saved in config.json). Raises UserError."""
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise UserError(_one_sentence(error)) from None


def apply_settings(config: Config, settings: Iterable[str]) -> Config:
    """Return ``config`` with ``section.key=value`` settings applied; values are JSON or text.

    Raises UserError for a setting that is not ``key=value``, an unknown key or a bad value.
    """
    content: dict[str, Any] = config.model_dump(mode="json")
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or not key:
            raise UserError(f"the setting {setting!r} is not of the form key=value")
        _assign(content, key.strip(), _value(text))
    return parse_config(content)


def _alternatives(numbers: list[int]) -> str:
    """``4``, or ``1, 2 or 4``."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None if text.lower() == "none" else text


def _assign(content: dict[str, Any], key: str, value: object) -> None:
    *sections, name = key.split(".")
    place = content
    for section in sections:
        place = place.get(section) if isinstance(place, dict) else None  # type: ignore[assignment]
    if not sections or not isinstance(place, dict) or name not in place:
        raise UserError(f"there is no setting {key!r}; did you mean one of: {_close(key)}?")
    place[name] = value


def _close(key: str) -> str:
    from difflib import get_close_matches

    names = [
        f"{section}.{name}"
        for section, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for name in field.annotation.model_fields
    ]
    return ", ".join(get_close_matches(key, names, n=3, cutoff=0.4) or names)


def _one_sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "extra_forbidden":
        return f"there is no setting {where!r}"
    if first["type"] == "missing":
        return f"the configuration lacks {where!r}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{where}={first['input']!r} is not possible: {message}"
