"""The schedule, the optimizer, and what is written when."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dcvae.config.section import MIN_RESOLUTION, OPERATIONAL, REMEDY, Resolution, Section

MAX_SEED = 2**63 - 1
Interval = Annotated[int, Field(ge=1), OPERATIONAL]
"""Images between two writes of something."""
Decay = Annotated[float, Field(ge=0, lt=1)]
"""The decay of a running mean at each update."""


class Phase(Section):
    """One stage of progressive growth, measured in real images shown to the model."""

    resolution: Resolution
    """Side of the images in pixels, a power of two."""
    images: int = Field(ge=0)
    """Images at full weight of this resolution."""
    fade_images: int = Field(default=0, ge=0)
    """Images over which this resolution is faded in first."""
    batch_size: int = Field(ge=1)
    """Images per step, over all ranks."""
    learning_rate_factor: float = Field(default=1.0, gt=0)
    """Adam's step size α in this phase, as a multiple of ``training.learning_rate``."""

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        """A phase has images: ``images`` or ``fade_images`` is above 0."""
        if self.images + self.fade_images == 0:
            raise ValueError(
                f"the phase at resolution {self.resolution} has no images; "
                "give it some or remove it"
            )
        return self


class TrainingConfig(Section):
    """The schedule, the optimizer, and what is written when. Every interval is in images."""

    phases: tuple[Phase, ...] = Field(min_length=1)
    """The schedule: what is trained at each resolution, in order of growth."""
    seed: Annotated[int, REMEDY] = Field(default=0, ge=0, le=MAX_SEED)
    """Determines the initial weights, the order of the images and all noise."""
    learning_rate: Annotated[float, REMEDY] = Field(default=1e-3, gt=0)
    """Adam's step size α, for all networks; a phase may multiply it."""
    adam_betas: Annotated[tuple[Decay, Decay], REMEDY] = (0.0, 0.99)
    """Adam's β₁ and β₂."""
    adam_eps: Annotated[float, REMEDY] = Field(default=1e-8, gt=0)
    """Adam's ε."""
    discriminator_steps: int = Field(default=1, ge=1)
    """Discriminator updates per generator and contrastive update."""
    generator_batch_ratio: int = Field(default=1, ge=1)
    """Prior samples in a generator update, as a multiple of the batch."""
    average_decay: Annotated[Decay, REMEDY] = 0.999
    """Decay of the averaged weights at each generator update."""
    average_half_life: int | None = Field(default=None, ge=1)
    """Half-life of weights in the average, in images; shorter early in a run; none:
    ``training.average_decay`` per step."""
    mirror: bool = False
    """Flip half of the images left to right, at random."""
    precision: Annotated[Literal["float32", "tf32", "bfloat16"], REMEDY] = "float32"
    """Precision of convolutions and matrix products; losses and weights stay in float32. tf32 needs
    a GPU."""
    cuda_graphs: Annotated[bool, OPERATIONAL] = True
    """On a GPU, replay updates as CUDA graphs: the same numbers, faster."""
    accumulation: Annotated[int, OPERATIONAL] = Field(default=1, ge=1)
    """Micro-batches whose gradients are accumulated for one update: less memory, the same update,
    except with AutoGAN's networks, whose batch statistics are then those of each micro-batch."""
    gradient_clipping: Annotated[float, REMEDY] = Field(default=0.0, ge=0)
    """Largest gradient norm of each network; 0: no clipping."""
    zero_stage: Annotated[Literal[0, 1, 2], OPERATIONAL] = 0
    """DeepSpeed's ZeRO stage: what is divided among ranks. 0: nothing, 1: the optimizer's moments,
    2: the gradients too."""
    checkpoint_activations_from: Annotated[int | None, OPERATIONAL] = Field(
        default=None, ge=MIN_RESOLUTION
    )
    """Progressive GAN: blocks of this resolution (pixels) and above are computed again in the
    backward pass: less memory, more time, the same numbers; none: no block."""
    log_images: Interval = 4_000
    """Images between two lines of progress and of metrics.jsonl."""
    sample_images: Interval = 100_000
    """Images between two pictures of samples and reconstructions."""
    checkpoint_images: Interval = 200_000
    """Images between two checkpoints, from which a stopped run resumes."""
    keep_checkpoints: Annotated[int, OPERATIONAL] = Field(default=3, ge=1)
    """How many of the latest checkpoints to keep, besides the one at the end of each phase."""
    snapshot_images: Interval = 1_000_000
    """Images between two snapshots, which are averaged weights to load and evaluate."""
    metrics_port: Annotated[int | None, OPERATIONAL] = Field(default=None, ge=0, le=65535)
    """Prometheus port of a node's first rank; each next rank adds 1; 0: any free port; none: no
    server."""
    log_communication: Annotated[bool, OPERATIONAL] = False
    """With each checkpoint, write what DeepSpeed's collectives cost into the run folder."""
    profile_flops: Annotated[bool, OPERATIONAL] = False
    """Profile each phase's first step with DeepSpeed's FLOPs profiler, into the run folder."""

    def rate_in(self, phase: Phase) -> float:
        """Adam's step size α in ``phase``."""
        return self.learning_rate * phase.learning_rate_factor

    @property
    def total_images(self) -> int:
        """Real images of the whole schedule."""
        return sum(p.images + p.fade_images for p in self.phases)
