"""The schedule, image by image."""

import pytest

from dcvae.config import Phase
from dcvae.errors import UserError
from dcvae.presets import configure
from dcvae.training.schedule import stage_at

PHASES = (
    Phase(resolution=4, images=100, batch_size=10),
    Phase(resolution=8, images=50, fade_images=40, batch_size=10),
)


@pytest.mark.parametrize(
    ("images", "resolution", "fade", "end"),
    [
        (0, 4, 1.0, 100),
        (99, 4, 1.0, 100),
        (100, 8, 0.0, 190),
        (110, 8, 0.25, 190),
        (140, 8, 1.0, 190),
        (189, 8, 1.0, 190),
        (500, 8, 1.0, 190),
    ],
)
def test_stage(images: int, resolution: int, fade: float, end: int) -> None:
    stage = stage_at(PHASES, images)
    assert (stage.phase.resolution, stage.fade, stage.end) == (resolution, fade, end)


def test_ranks_that_fit_are_named() -> None:
    config = configure("smoke", ["training.accumulation=2"])
    config.check_ranks(4)
    with pytest.raises(UserError, match=r"over 3 ranks x 2 .* or --nproc 1, 2, 4 or 8$"):
        config.check_ranks(3)


def test_micro_batches_that_cut_groups_of_the_minibatch_statistic_are_refused() -> None:
    config = configure("smoke", ["training.accumulation=8"])
    with pytest.raises(UserError, match=r"not a multiple of 4, .*; use 1, 2 or 4$"):
        config.check_ranks(1)
    configure("smoke", ["training.accumulation=8", "objective.method=vae"]).check_ranks(1)
    configure("cifar10", ["training.accumulation=32"]).check_ranks(1)
