"""Small shard sets."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dcvae.data.manifest import Manifest
from dcvae.data.shard import shard
from dcvae.data.sources import Item, Source
from dcvae.data.sources.base import Loaded
from dcvae.storage import Storage, open_storage


class Painted(Source):
    """``count`` images per split; every pixel of sample n says n."""

    def __init__(self, count: int, side: int = 8, channels: int = 3, labelled: bool = True) -> None:
        self.uri, self.name = f"painted:{count}", "painted"
        self.count, self.side, self.channels = count, side, channels
        self.classes = [str(n) for n in range(7)] if labelled else None

    def items(self, split: str) -> Iterator[Item]:
        for n in range(self.count if split == "train" else max(1, self.count // 5)):
            yield Item(f"{split}-{n}", "1", n % 7 if self.classes else None, n)

    def load(self, item: Item) -> Loaded:
        image = np.full((self.side, self.side, self.channels), item.reference % 256, np.uint8)
        image[..., 0] = item.reference // 256
        return image if self.channels == 3 else image[..., 0]


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
