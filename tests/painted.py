"""Sources that tests can predict. Importing this is cheap: child processes do it."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.sharding.sources import Item, Source
from dcvae.sharding.sources.base import Loaded, name_hash

OPTIONS: Any = {"resolution": 8, "samples_per_shard": 16}


class Painted(Source):
    """``count`` images per split; every pixel of sample n says n."""

    def __init__(
        self, count: int, side: int = 8, channels: int = 3, labelled: bool = True, kind: str = ""
    ) -> None:
        self.kind = kind
        self.uri, self.name = f"painted:{kind}{count}", "painted"
        self.count, self.side, self.channels = count, side, channels
        self.classes = [str(n) for n in range(7)] if labelled else None

    def items(self, split: str) -> Iterator[Item]:
        for n in range(self.count if split == "train" else max(1, self.count // 5)):
            yield Item(f"{self.kind}{split}-{n}", "1", n % 7 if self.classes else None, n)

    def order(self, split: str) -> list[int]:
        """The numbers of the samples as a shard set of them has them."""
        hashes = {item.reference: name_hash(item.name) for item in self.items(split)}
        return sorted(hashes, key=lambda n: hashes[n])

    def load(self, item: Item) -> Loaded:
        image = np.full((self.side, self.side, self.channels), item.reference % 256, np.uint8)
        image[..., 0] = item.reference // 256 % 256
        return image if self.channels == 3 else image[..., 0]


class Dying(Painted):
    """Kills its own process at the given image of the set."""

    def __init__(self, count: int, at: int) -> None:
        super().__init__(count)
        self.at = self.order("train")[at]

    def load(self, item: Item) -> Loaded:
        if item.reference == self.at and item.name.startswith("train"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(item)


def shard_and_die(count: int, at: int, uri: str) -> None:
    shard(Dying(count, at), uri, **OPTIONS)


class Slow(Painted):
    """Takes its time."""

    def load(self, item: Item) -> Loaded:
        time.sleep(1)
        return super().load(item)


def shard_quietly(uri: str, results: Any, count: int) -> None:
    try:
        results.put(shard(Painted(count, kind=str(count)), uri, **OPTIONS).fingerprint)
    except UserError as error:
        results.put(str(error))
