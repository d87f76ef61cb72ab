"""The schedule: which resolution, fade and batch each step of a run has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dcvae.config import Config, Phase


@dataclass(frozen=True)
class Stage:
    """Where the schedule stands."""

    index: int
    """Number of the phase, from 0."""
    phase: Phase
    fade: float
    """Weight of the phase's resolution: rises from 0 to 1 over ``phase.fade_images``."""
    end: int
    """Images at which the phase ends."""


def stage_at(phases: Sequence[Phase], images: int) -> Stage:
    """The stage of the step that starts after ``images`` real images.

    Past the end of the schedule, it is the last phase at full weight.
    """
    start = 0
    for index, phase in enumerate(phases):
        end = start + phase.fade_images + phase.images
        if images < end or index == len(phases) - 1:
            fade = 1.0
            if phase.fade_images:
                fade = min(1.0, (images - start) / phase.fade_images)
            return Stage(index, phase, fade, end)
        start = end
    raise AssertionError("a schedule has at least one phase")


def steps(config: Config, images: int = 0) -> Iterator[tuple[Stage, range]]:
    """The steps of a run that has been shown ``images`` images, until its schedule ends.

    Each has its stage and the numbers of images before its global batches: the range starts with
    the images before the step, and stops with those after it.
    """
    while images < config.training.total_images:
        stage = stage_at(config.training.phases, images)
        size = stage.phase.batch_size
        batches = range(images, images + config.batches_per_step * size, size)
        yield stage, batches
        images = batches.stop
