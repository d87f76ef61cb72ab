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


def test_what_is_to_come_costs_what_its_phase_does() -> None:
    pace = Pace(PHASES, costs=[1.0, 3.0, 10.0])
    assert pace.seconds_left(0) is None
    pace.add(0, 50, 5.0)
    assert pace.seconds_left(50) == pytest.approx(5 + 100 * 0.3 + 100 * 1.0)


def test_what_was_measured_goes_before_what_was_timed() -> None:
    pace = Pace(PHASES, costs=[1.0, 3.0, 10.0])
    pace.add(0, 100, 10.0)
    pace.add(1, 20, 4.0)  # 0.2 seconds, not 0.3: and so the next is 0.2 · 10 / 3
    assert pace.seconds_left(120) == pytest.approx(80 * 0.2 + 100 * 2 / 3)
    assert pace.seconds_left(300) == 0


def test_costs_are_timed_and_the_model_is_as_it_was() -> None:
    config = configure("digits", ["model.width_base=512", "model.width_max=128"])
    model = Networks(config).averaged
    model.grow_to(8, 0.25)
    costs = pace_of(model, config, world_size=1).costs
    assert costs[0] < costs[1] < costs[2]
    assert (model.resolution, model.fade, model.training) == (8, 0.25, False)


def test_a_model_that_does_not_grow_is_not_timed() -> None:
    config = configure("cifar10")
    assert pace_of(None, config, 8).costs == [1.0]  # type: ignore[arg-type]
