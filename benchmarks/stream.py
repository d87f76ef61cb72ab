"""Images per second from a real S3 server: our stream, webdataset, and one object per image.

    python -m benchmarks.stream [--resolutions 4 32 512] [--rounds 3] [--step-up-to 8]

Three ways to get the same shuffled batches of uint8 tensors, each with one worker:

- **ours**: dcvae.streaming.stream.Stream, one fetching thread. The clock runs from its
  construction to the last batch of an epoch, so nothing is read ahead for free.
- **webdataset**: its own pipeline (curl over presigned URLs, shuffle, decode, batch) on the same
  shards, one worker process. The clock starts at its first batch.
- **folder**: an ImageFolder over S3: one GET and one decode per image, one worker process. PNG up
  to 128 pixels, above that the same JPEG as ours. The clock starts at its first batch.

They take turns, ``--rounds`` times; the table has the median and the ratio to ours. The last
columns compare with a training step of the preset celebahq512 on this machine's GPU or, up to
``--step-up-to`` pixels, its CPU (where larger ones take minutes).
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from dcvae.sharding.shard import shard
from dcvae.sharding.sources import Item, Source
from dcvae.shards.encodings import encode
from dcvae.shards.manifest import Manifest
from dcvae.shards.reader import BYTES
from dcvae.storage import open_storage
from dcvae.storage.embedded import EmbeddedS3, embedded_s3
from dcvae.storage.s3_client import connection
from dcvae.streaming.stream import Stream

BUCKET, BATCH = "bench", 64
IMAGES = {4: 32768, 8: 32768, 16: 32768, 32: 16384, 64: 8192, 128: 2048, 256: 768, 512: 256}
OBJECTS = 512  # in the folder; more would only take longer to write
PER_SHARD = {4: 4096, 8: 4096, 16: 4096, 32: 2048, 64: 1024, 128: 256, 256: 96, 512: 32}


class Crops(Source):
    """Square crops of scikit-learn's two sample photographs."""

    splits, classes = ("train",), ["china", "flower"]

    def __init__(self, count: int, side: int) -> None:
        from sklearn.datasets import load_sample_images

        self.uri, self.name, self.count, self.side = f"crops:{side}", "crops", count, side
        height = max(3 * side // 2, 48)
        pictures = [Image.fromarray(picture) for picture in load_sample_images().images]
        scaled = [p.resize((p.width * height // p.height, height)) for p in pictures]
        self.pictures = [np.asarray(picture) for picture in scaled]

    def items(self, split: str) -> Iterator[Item]:
        for n in range(self.count):
            yield Item(str(n), "1", n % 2, n)

    def load(self, item: Item) -> np.ndarray[Any, np.dtype[np.uint8]]:
        picture, place = self.pictures[item.reference % 2], np.random.default_rng(item.reference)
        top, left = (place.integers(0, size - self.side + 1) for size in picture.shape[:2])
        return np.ascontiguousarray(picture[top : top + self.side, left : left + self.side])


class Objects(Dataset[tuple[torch.Tensor, int]]):
    """torchvision's ImageFolder with a bucket instead of a folder."""

    def __init__(self, keys: list[str], length: int) -> None:
        self.keys, self.length = keys, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        key = self.keys[index % len(self.keys)]
        body = connection().client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        with Image.open(io.BytesIO(body)) as image:
            return pil_to_tensor(image.convert("RGB")), index % 2


class Prepared:
    """One resolution's images on the server, as shards and as objects."""

    def __init__(self, resolution: int) -> None:
        self.resolution, count = resolution, IMAGES[resolution]
        self.uri = f"s3://{BUCKET}/shards-{resolution}"
        source = Crops(count, resolution)
        self.manifest: Manifest = shard(
            source,
            self.uri,
            resolution=resolution,
            min_resolution=resolution,
            samples_per_shard=PER_SHARD[resolution],
        )
        kind = "png" if resolution <= 128 else "jpg"
        self.keys, size = [], 0
        for item in islice(source.items("train"), OBJECTS):
            body = encode(source.load(item), kind)
            self.keys.append(f"objects-{resolution}/{item.name}.{kind}")
            connection().client.put_object(Bucket=BUCKET, Key=self.keys[-1], Body=body)
            size += len(body)
        self.object_bytes = size / len(self.keys)
        shards = self.manifest.shards("train", resolution)
        self.shard_bytes = sum(each.bytes for each in shards) / count
        address = partial(connection().client.generate_presigned_url, "get_object")
        self.urls = [
            address(Params={"Bucket": BUCKET, "Key": f"shards-{resolution}/{each.key}"})
            for each in shards
        ]


def ours(data: Prepared) -> tuple[float, float]:
    """(images/s of one epoch, bytes read per image)."""
    before, began = BYTES._value.get(), time.perf_counter()
    stream = Stream(
        open_storage(data.uri), data.manifest, resolution=data.resolution, seed=1, workers=1
    )
    with closing(stream):
        count = IMAGES[data.resolution] // BATCH
        for batch in islice(stream.batches(0, BATCH), count):
            assert batch.images.shape == (BATCH, 3, data.resolution, data.resolution)
        rate = count * BATCH / (time.perf_counter() - began)
        return rate, (BYTES._value.get() - before) / (count * BATCH)


def stock(data: Prepared, seconds: float) -> tuple[float, float]:
    """The same for webdataset, which reads every shard once per epoch."""
    member = data.manifest.encoding[str(data.resolution)]
    pipeline = (
        webdataset.WebDataset(data.urls, shardshuffle=100, seed=1)
        .shuffle(1000)
        .decode("torchrgb8")
        .to_tuple(member, "cls")
        .map_tuple(_to_tensor)
        .batched(BATCH)
        .repeat()
    )
    loader = webdataset.WebLoader(pipeline, batch_size=None, num_workers=1)
    return _rate(iter(loader), seconds, data.resolution), data.shard_bytes


def _to_tensor(image: Any) -> torch.Tensor:
    if isinstance(image, np.ndarray):
        return torch.from_numpy(image).permute(2, 0, 1)
    return torch.as_tensor(image)


def folder(data: Prepared, seconds: float) -> tuple[float, float]:
    """The same for one object per image."""
    dataset = Objects(data.keys, 1 << 20)
    loader = DataLoader(dataset, BATCH, shuffle=True, num_workers=1)
    return _rate(iter(loader), seconds, data.resolution), data.object_bytes


def _rate(batches: Iterator[Any], seconds: float, resolution: int) -> float:
    """Images/s after the first batch, over at least ``seconds`` and two more batches."""
    next(batches)
    began, count = time.perf_counter(), 0
    while count < 2 or time.perf_counter() - began < seconds:
        images, _ = next(batches)
        assert images.shape == (BATCH, 3, resolution, resolution)
        count += 1
    return count * BATCH / (time.perf_counter() - began)


def training_rate(resolution: int, batch: int) -> float:
    """Images/s of a training step of celebahq512 grown to ``resolution``, on this device."""
    from benchmarks.step import our_step
    from dcvae.presets import configure
    from dcvae.training import engines, ranks
    from dcvae.training.randomness import Rows
    from dcvae.training.step import MicroBatch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ranks.start(device)
    engines.prepare(device)
    step = our_step(configure("celebahq512"), device)
    step.networks.grow_to(resolution, 1.0)
    images = torch.rand(batch, 3, resolution, resolution, device=device) * 2 - 1
    times = []
    for number in range(5 if device.type == "cuda" else 2):
        began = time.perf_counter()
        terms = step([[MicroBatch(images, Rows(0, number * batch, batch, 0, batch))]], 0)
        float(next(iter(terms.values())))  # waits for the device
        times.append(time.perf_counter() - began)
    return batch / min(times[1:])


def compare(resolution: int, rounds: int, seconds: float, step_up_to: int) -> str:
    """One row of the table."""
    data = Prepared(resolution)
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "ours": lambda: ours(data),
        "webdataset": lambda: stock(data, seconds),
        "folder": lambda: folder(data, seconds),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    sizes = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        for name, way in ways.items():
            rate, sizes[name] = way()
            rates[name].append(rate)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    row = f"{resolution:>4}" + "".join(f"{middle[name]:>12,.0f}" for name in ways)
    row += "".join(f"{middle['ours'] / middle[name]:>11.1f}x" for name in list(ways)[1:])
    row += "".join(f"{sizes[name]:>12,.0f}" for name in ways)
    if torch.cuda.is_available() or resolution <= step_up_to:
        rate = training_rate(resolution, 8)
        row += f"{rate:>12,.1f}{middle['ours'] / rate:>9,.0f}x"
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolutions", type=int, nargs="+", default=list(IMAGES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    parser.add_argument("--step-up-to", type=int, default=8)
    options = parser.parse_args()
    heads = ("ours", "webdataset", "folder")
    print(f"{'':>10}{'images/s':<30}{'ours against':<24}bytes read an image")
    columns = [*(f"{h:>12}" for h in (*heads, *heads[1:], *heads)), "  step im/s  ours/step"]
    print(" res" + "".join(columns))
    with tempfile.TemporaryDirectory() as place, _server(Path(place)):
        for resolution in options.resolutions:
            row = compare(resolution, options.rounds, options.seconds, options.step_up_to)
            print(row, flush=True)


@contextmanager
def _server(place: Path) -> Iterator[EmbeddedS3]:
    with embedded_s3(place) as server:
        os.environ.update(server.environment())
        server.create_bucket(BUCKET)
        yield server


if __name__ == "__main__":
    main()
