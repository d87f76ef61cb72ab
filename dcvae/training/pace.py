"""How long the rest of a run will take: phases of higher resolution are slower, many times."""

import time
from collections.abc import Sequence

import torch

from dcvae.config import Config, Phase
from dcvae.models import DCVAE

PIXELS = 2**19
"""Of a resolution, so many pixels are passed at most to see what it costs."""
TRIES = 2


class Pace:
    """Weighs the images to come: by what they took, or by what their phase costs beside another.

    ``costs`` has a number for each phase that is proportional to the seconds of an image.
    """

    def __init__(self, phases: Sequence[Phase], costs: Sequence[float]) -> None:
        self.images = [phase.fade_images + phase.images for phase in phases]
        self.costs = list(costs)
        self.measured = [(0, 0.0)] * len(self.images)
        self.latest: int | None = None

    def add(self, phase: int, images: int, seconds: float) -> None:
        """``images`` of the phase with number ``phase`` took ``seconds``."""
        before = self.measured[phase]
        self.measured[phase] = (before[0] + images, before[1] + seconds)
        if self.measured[phase][0]:
            self.latest = phase

    def seconds_left(self, shown: int) -> float | None:
        """Seconds from ``shown`` images to the end; none before anything was measured."""
        if self.latest is None:
            return None
        left, start = 0.0, 0
        for phase, images in enumerate(self.images):
            end = start + images
            left += max(0, end - max(start, shown)) * self._seconds_per_image(phase)
            start = end
        return left

    def _seconds_per_image(self, phase: int) -> float:
        assert self.latest is not None
        images, seconds = self.measured[phase]
        if images:
            return seconds / images
        images, seconds = self.measured[self.latest]
        return seconds / images * self.costs[phase] / self.costs[self.latest]


def pace_of(model: DCVAE, config: Config, world_size: int) -> Pace:
    """A pace for ``config`` whose costs are timed: seconds of an image through ``model``, here.

    Each resolution is passed forward, without gradient and in evaluation mode; the model is as it
    was after. Operations of few pixels cost their start, which no count of arithmetic would show.
    """
    phases = config.training.phases
    if len({phase.resolution for phase in phases}) == 1:
        return Pace(phases, [1.0] * len(phases))
    parts = world_size * config.training.accumulation
    at, training = (model.resolution, model.fade), model.training
    model.eval()
    try:
        costs = [
            _seconds(model, phase.resolution, max(1, phase.batch_size // parts)) for phase in phases
        ]
    finally:
        model.train(training)
        model.grow_to(*at)
    return Pace(phases, costs)


@torch.no_grad()
def _seconds(model: DCVAE, resolution: int, share: int) -> float:
    """Of an image of ``resolution``, in batches of ``share`` or fewer."""
    like = next(model.parameters())
    count = max(1, min(share, PIXELS // resolution**2))
    images = like.new_zeros(count, model.config.model.channels, resolution, resolution)
    noise = like.new_zeros(count, model.config.model.latent_dim)
    model.grow_to(resolution, 1.0)
    found = []
    for _ in range(1 + TRIES):  # the first one warms up
        began = time.perf_counter()
        float(model(images, noise).reconstruction.sum())  # waits for the device
        found.append(time.perf_counter() - began)
    return min(found[1:]) / count
