"""Small shard sets."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dcvae.data.manifest import Manifest
from dcvae.data.shard import shard
from dcvae.storage import Storage, open_storage
from tests.data.painted import Painted


class ShardSet(NamedTuple):
    storage: Storage
    manifest: Manifest


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """1,000 labelled images of 8 pixels in shards of 64, in a folder."""
    place = str(tmp_path_factory.mktemp("painted"))
    manifest = shard(Painted(1000), place, resolution=8, samples_per_shard=64)
    return ShardSet(open_storage(place), manifest)


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
