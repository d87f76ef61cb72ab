"""Progressive growth: which phase, resolution and fade a number of images belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

from dcvae.config import Phase


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
    """The stage in which the step that starts after ``images`` real images is made.

    Past the end of the schedule it is the last phase, finished.
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
