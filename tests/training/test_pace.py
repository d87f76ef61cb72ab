"""The time that is left: phases of higher resolution weigh what they cost."""

import pytest

from dcvae.config import Phase
from dcvae.presets import configure
from dcvae.training.pace import Pace, pace_of
from dcvae.updates import Networks

PHASES = [
    Phase(resolution=4, images=100, batch_size=10),
    Phase(resolution=8, images=60, fade_images=40, batch_size=10),
    Phase(resolution=16, images=100, batch_size=10),
]


def test_what_is_to_come_takes_its_work_and_what_every_step_takes_beside() -> None:
    pace = Pace(PHASES, forward=[0.001, 0.003, 0.01], passes=20)
    assert pace.seconds_left(0) is None
    pace.add(0, 50, 5.0)  # 0.1 seconds: 0.02 of work and 0.08 of everything else
    assert pace.seconds_left(50) == pytest.approx(50 * 0.1 + 100 * 0.14 + 100 * 0.28)


def test_without_time_for_anything_else_phases_are_in_proportion() -> None:
    pace = Pace(PHASES, forward=[0.01, 0.03, 0.1], passes=20)
    pace.add(0, 100, 5.0)
    assert pace.seconds_left(100) == pytest.approx(100 * 0.15 + 100 * 0.5)


def test_what_was_measured_goes_before_what_was_timed() -> None:
    pace = Pace(PHASES, forward=[0.01, 0.03, 0.1], passes=20)
    pace.add(0, 100, 5.0)
    pace.add(1, 20, 4.0)  # 0.2 seconds, not 0.15: and so the next is 0.2 · 10 / 3
    assert pace.seconds_left(120) == pytest.approx(80 * 0.2 + 100 * 2 / 3)
    assert pace.seconds_left(300) == 0


def test_seconds_are_timed_and_the_model_is_as_it_was() -> None:
    config = configure("digits", ["model.width_base=512", "model.width_max=128"])
    model = Networks(config).averaged
    model.grow_to(8, 0.25)
    work = pace_of(model, config, world_size=1).work
    assert 0 < work[0] < work[2]
    assert (model.resolution, model.fade, model.training) == (8, 0.25, False)


def test_a_model_that_does_not_grow_is_not_timed() -> None:
    config = configure("cifar10")
    pace = pace_of(None, config, 8)  # type: ignore[arg-type]
    pace.add(0, 1_000, 10.0)
    assert pace.seconds_left(1_000) == pytest.approx((40_000_000 - 1_000) / 100)
