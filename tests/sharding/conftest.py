"""Small shard sets."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of 30 JPEGs of different sizes."""
    from PIL import Image

    folder = tmp_path / "photographs"
    folder.mkdir()
    noise = np.random.default_rng(5)
    for n in range(30):
        coarse = noise.integers(0, 256, (6, 5 + n % 3, 3), np.uint8)
        size = (90 + 7 * n, 70 + 11 * n)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(
            folder / f"{n:02d}.jpg", quality=92
        )
    return folder
