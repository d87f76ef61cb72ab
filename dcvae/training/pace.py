"""How long the rest of a run will take, given that higher resolutions are many times slower."""

import time
from collections.abc import Sequence

import torch

from dcvae.config import Config, Phase
from dcvae.models import DCVAE

PIXELS = 2**19
"""The most pixels that are passed through the model to time a resolution."""
TRIES = 3


class Pace:
    """Estimates the remaining time from measured speed and from the relative cost of the phases.

    ``forward`` has the seconds per image of a forward pass of the autoencoder in each phase, and
    ``passes`` is how many such passes a step's work per image amounts to. What a step takes beyond
    that (launching operations, the optimizer) is assumed equal at every resolution.
    """

    def __init__(self, phases: Sequence[Phase], forward: Sequence[float], passes: float) -> None:
        self.images = [phase.fade_images + phase.images for phase in phases]
        self.work = [passes * seconds for seconds in forward]
        self.measured = [(0, 0.0)] * len(self.images)
        self.latest: int | None = None

    def add(self, phase: int, images: int, seconds: float) -> None:
        """Record that ``images`` images of phase number ``phase`` took ``seconds``."""
        before = self.measured[phase]
        self.measured[phase] = (before[0] + images, before[1] + seconds)
        if self.measured[phase][0]:
            self.latest = phase

    def seconds_left(self, shown: int) -> float | None:
        """Seconds from ``shown`` images to the end; None before anything was measured."""
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
        took, work = seconds / images, self.work[self.latest]
        # Below 0 if the machine was slower when it was timed than it is now.
        return max(0.0, took - work) + min(took, work) * self.work[phase] / work


def passes_of(config: Config) -> float:
    """How many forward passes of the autoencoder a step's work per image amounts to.

    Encoder, decoder and D cost about the same, and a backward pass twice as much as a forward pass.
    The discriminator's update makes one reconstruction and one sample, then takes D forward and
    back over three sets and, twice, over the penalty's mixtures; the others are counted likewise.
    """
    objective = config.objective
    discriminator = 8.5 if objective.adversarial else 0.0
    others = 5.0 if objective.contrastive else 0.0
    if objective.adversarial:
        others += 6.5
    elif not objective.contrastive:
        others += 3.0
    return discriminator + others / config.batches_per_step


def pace_of(model: DCVAE, config: Config, world_size: int) -> Pace:
    """A pace for ``config``, from timing ``model`` here and now at each resolution.

    Forward passes are timed without gradient and in evaluation mode; the model is left as it was.
    They are timed because small maps cost mainly launches, which a count of arithmetic would miss.
    """
    phases, passes = config.training.phases, passes_of(config)
    if len({phase.resolution for phase in phases}) == 1:
        return Pace(phases, [1.0] * len(phases), passes)
    parts = world_size * config.training.accumulation
    at, training = (model.resolution, model.fade), model.training
    model.eval()
    device = next(model.parameters()).device.type
    low = config.training.precision == "bfloat16"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=low):
            forward = [
                _seconds(model, phase.resolution, max(1, phase.batch_size // parts))
                for phase in phases
            ]
    finally:
        model.train(training)
        model.grow_to(*at)
    return Pace(phases, forward, passes)


@torch.no_grad()
def _seconds(model: DCVAE, resolution: int, share: int) -> float:
    """Seconds per image of ``resolution``, in batches of at most ``share``."""
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
