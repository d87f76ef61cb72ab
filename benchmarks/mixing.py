"""How well batches mix the classes of a source that is sorted by class.

    python -m benchmarks.mixing [--images 20000] [--per-shard 128] [--classes 10 100 1000]
                                [--batch 16 128]
    python -m benchmarks.mixing --source idx:/usr/share/datasets/fashion-mnist --per-shard 4096

For each number of classes and batch size, over one epoch: the share of classes in a batch, and the
share of groups of four neighbours, over which D takes minibatch statistics, that are of one class.
*source's order* is what shards in the order of the files would give with the same stream; *ours* is
a real set through the real stream; *iid* is the average of independent draws. Shards are small, so
that few images stand for many: 20,000 in shards of 128 mix like 640,000 in shards of 4,096. With
``--source``, the images are that source's training images, sorted by their labels.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import numpy as np
import numpy.typing as npt

from dcvae.sharding.shard import shard
from dcvae.sharding.sources import Item, Source, open_source
from dcvae.sharding.sources.base import Loaded
from dcvae.storage import open_storage
from dcvae.streaming.order import Order
from dcvae.streaming.stream import Stream

GROUP, LANES, SEED = 4, 8, 1
Labels = npt.NDArray[np.int64]


class ByClass(Source):
    """``count`` grey images of 4 pixels, sorted by class."""

    splits = ("train",)
    channels = 1

    def __init__(self, count: int, classes: int) -> None:
        self.uri, self.name = "benchmark", "by-class"
        self.count, self.classes = count, [str(n) for n in range(classes)]

    def items(self, split: str) -> Iterator[Item]:
        for n in range(self.count):
            yield Item(f"{n:07d}", "1", n * len(self.classes) // self.count, n)

    def load(self, item: Item) -> npt.NDArray[np.uint8]:
        return np.full((4, 4), item.label % 256, np.uint8)


class Sorted(Source):
    """The training images of another source, sorted by their labels."""

    splits = ("train",)

    def __init__(self, source: Source) -> None:
        self.uri, self.name, self.channels = source.uri, source.name, source.channels
        self.source, self.classes = source, source.classes

    def items(self, split: str) -> Iterator[Item]:
        yield from sorted(self.source.items(split), key=lambda item: item.label or 0)

    def load(self, item: Item) -> Loaded:
        return self.source.load(item)


def in_order(labels: Labels, sizes: list[int], batch: int, count: int) -> Iterator[Labels]:
    """Labels of an epoch's batches, if shards were in the source's order."""
    order, firsts = Order(sizes, SEED, LANES), np.cumsum([0, *sizes])
    for number in range(count):
        place = order.batch(number * batch, batch)
        yield labels[firsts[place.shards] + place.samples]


def figures(batches: Iterator[Labels], classes: int) -> tuple[float, float]:
    """(share of classes in a batch, share of groups of one class)."""
    there, alike = [], []
    for labels in batches:
        there.append(len(np.unique(labels)) / classes)
        groups = labels[: len(labels) // GROUP * GROUP].reshape(-1, GROUP)
        alike.append(float((groups == groups[:, :1]).all(1).mean()))
    return float(np.mean(there)), float(np.mean(alike))


def rows(source: Source, per_shard: int, batches: list[int]) -> Iterator[str]:
    labels = np.array([item.label for item in source.items("train")])
    classes = len(source.classes or [])
    with tempfile.TemporaryDirectory() as place:
        manifest = shard(source, place, resolution=4, samples_per_shard=per_shard)
        sizes = [each.samples for each in manifest.shards("train", 4)]
        for batch in batches:
            whole = len(labels) // batch
            stream = Stream(open_storage(place), manifest, resolution=4, seed=SEED, lanes=LANES)
            with closing(stream):
                taken = islice(stream.batches(0, batch), whole)
                ours = figures((b.labels.numpy() for b in taken if b.labels is not None), classes)
            before = figures(in_order(labels, sizes, batch, whole), classes)
            iid = 1 - (1 - 1 / classes) ** batch, classes ** (1 - GROUP)
            cells = [f"{100 * way[n]:>10.2f}" for n in (0, 1) for way in (before, ours, iid)]
            yield f"{classes:>8}{batch:>7}" + "".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", help="such as idx:FOLDER; without it, images made up")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--per-shard", type=int, default=128)
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 128])
    options = parser.parse_args()
    print(f"{'':>15}{'classes in a batch, %':>30}{'groups of one class, %':>30}")
    heads = "".join(f"{name:>10}" for name in ("in order", "ours", "iid") * 2)
    print(f"{'classes':>8}{'batch':>7}{heads}")
    sources: list[Source] = [ByClass(options.images, classes) for classes in options.classes]
    if options.source:
        sources = [Sorted(open_source(options.source))]
    for source in sources:
        for row in rows(source, options.per_shard, options.batch):
            print(row, flush=True)


if __name__ == "__main__":
    main()
