"""The schedule, image by image."""

import pytest

from dcvae.config import Phase
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
