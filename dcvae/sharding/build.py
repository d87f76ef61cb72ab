"""Makes one shard at all its resolutions, from source images to stored objects."""

import hashlib
from typing import NamedTuple

import numpy as np
from PIL import Image
from prometheus_client import Counter
from pydantic import BaseModel, ConfigDict

from dcvae.sharding import decoding
from dcvae.sharding.claim import Claim
from dcvae.sharding.plan import Spec, Task
from dcvae.sharding.sources import Item
from dcvae.sharding.sources.base import Loaded
from dcvae.sharding.spill import Reader
from dcvae.shards import encodings
from dcvae.shards.encodings import BadImage, Pixels
from dcvae.shards.jpeg import without_metadata
from dcvae.shards.manifest import Shard
from dcvae.shards.tar import ShardWriter

SKIPPED = Counter("dcvae_shard_skipped_images", "Source images that could not be used.")


Members = dict[int, bytes]


class Record(BaseModel):
    """What is stored beside a finished shard, so that a rerun need not read its images.

    ``items``: (name, stamp, hash of the content) of each source image. ``skipped``: (name,
    reason). ``shards``: shard by resolution; empty if no image of the shard was usable.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: str
    first: int
    items: list[tuple[str, str, str]]
    skipped: list[tuple[str, str]]
    shards: dict[str, Shard]


class Built(NamedTuple):
    """A shard in memory: its tar by resolution, and what became of each item."""

    tars: dict[int, bytes]
    samples: int
    items: list[tuple[str, str, str]]
    skipped: list[tuple[str, str]]


class Finished(NamedTuple):
    """What stays in memory of a finished shard: far less than its record."""

    images: int
    skipped: list[tuple[str, str]]
    shards: dict[str, Shard]


def finished(record: Record) -> Finished:
    """The part of ``record`` that the manifest needs."""
    return Finished(len(record.items), record.skipped, record.shards)


def record_key(split: str, index: int) -> str:
    """Key of the record of shard ``index``."""
    return f"{split}/index/shard-{index:06d}.json"


def shard_key(split: str, resolution: int, index: int) -> str:
    """Key of the tar of shard ``index``."""
    return f"{split}/r{resolution}/shard-{index:06d}.tar"


def make(source: Reader, spec: Spec, task: Task, claim: Claim) -> Finished:
    """Build one shard and store it; equal inputs give equal bytes.

    Raises:
        UserError: the storage fails, or another writer has taken over the destination.
    """
    built = build(source, spec, task)
    SKIPPED.inc(len(built.skipped))
    claim.check()
    shards = {}
    for resolution, tar in built.tars.items():
        key = shard_key(task.split, resolution, task.index)
        claim.put(key, tar)
        digest = hashlib.sha256(tar).hexdigest()
        shards[str(resolution)] = Shard(
            key=key, samples=built.samples, bytes=len(tar), sha256=digest
        )
    record = Record(
        inputs=task.inputs(spec),
        first=task.first,
        items=built.items,
        skipped=built.skipped,
        shards=shards,
    )
    claim.put(record_key(task.split, task.index), record.model_dump_json().encode())
    return finished(record)


def build(source: Reader, spec: Spec, task: Task) -> Built:
    """Decode, resize and encode the images of ``task``; they are read in the source's order, which
    is the cheapest, and written in the task's."""
    read: dict[int, tuple[str, Members]] = {}
    reasons: dict[int, str] = {}
    for n in sorted(range(len(task.items)), key=lambda n: task.items[n].place):
        try:
            read[n] = _read(source, spec, task.items[n])
        except BadImage as error:
            reasons[n] = str(error)
    writers = {resolution: ShardWriter() for resolution in spec.resolutions}
    for n in sorted(read):
        for resolution, body in read[n][1].items():
            key, encoding = f"{task.first + n:09d}", spec.encoding[resolution]
            writers[resolution].add(key, encoding, body, task.items[n].label)
    items = [(i.name, i.stamp, read[n][0] if n in read else "") for n, i in enumerate(task.items)]
    skipped = [(task.items[n].name, reasons[n]) for n in sorted(reasons)]
    samples = len(read)
    tars = {r: writer.finish() for r, writer in writers.items()} if samples else {}
    return Built(tars, samples, items, skipped)


def _read(source: Reader, spec: Spec, item: Item) -> tuple[str, Members]:
    """(hash of the content, the stored image by resolution)."""
    if item.bad:
        raise BadImage(item.bad)
    loaded = source.load(item)
    return content_hash(loaded), _members(loaded, spec)


def content_hash(loaded: Loaded) -> str:
    """128-bit hash of a source image's content."""
    body = loaded if isinstance(loaded, bytes) else loaded.tobytes()
    return hashlib.sha256(body).hexdigest()[:32]


def _members(loaded: Loaded, spec: Spec) -> Members:
    """The stored image by resolution.

    Raises:
        BadImage: the image cannot be used.
    """
    resolution, channels = spec.resolution, spec.channels
    if isinstance(loaded, bytes):
        pixels = decoding.to_square(decoding.decode(loaded, resolution), resolution, channels)
    elif loaded.shape == (resolution, resolution, channels):
        pixels = loaded
    else:
        image = Image.fromarray(np.ascontiguousarray(loaded))
        pixels = decoding.to_square(image, resolution, channels)
    levels = decoding.pyramid(pixels, spec.min_resolution)
    members = {r: encodings.encode(level, spec.encoding[r]) for r, level in levels.items()}
    if spec.encoding[resolution] == "jpg" and isinstance(loaded, bytes):
        members[resolution] = _original(loaded, pixels) or members[resolution]
    return members


def _original(data: bytes, pixels: Pixels) -> bytes | None:
    """``data`` without its metadata, if it can be stored as it is without losing quality again."""
    if not encodings.is_ready_jpeg(data, pixels.shape[0], pixels.shape[2]):
        return None
    bare = without_metadata(data)
    if bare is None:
        return None
    before, after = np.empty_like(pixels), np.empty_like(pixels)
    try:
        encodings.decode_stored(data, "jpg", before)
        encodings.decode_stored(bare, "jpg", after)
    except BadImage:  # our decoder is stricter than Pillow
        return None
    return bare if np.array_equal(before, after) else None
