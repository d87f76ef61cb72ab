"""The averaged weights' half-life: in images, whatever the batch; short early in a run."""

import math

import pytest

from dcvae.objective.averaging import RAMP, decay


@pytest.mark.parametrize("batch", [32, 64, 512])
def test_half_is_left_after_the_half_life(batch: int) -> None:
    steps = 10_240 // batch
    left = math.prod(decay(batch, 10**9, 10_240) for _ in range(steps))
    assert left == pytest.approx(0.5)


def test_early_weights_are_forgotten() -> None:
    """With a half-life of twice what has been shown, all but a trace of the start is gone."""
    left = math.prod(decay(100, 100 * step, 20_000) for step in range(1, 101))
    assert left < 1e-10
    assert decay(100, 10_000, 20_000) == 0.5 ** (100 / (RAMP * 10_000))
