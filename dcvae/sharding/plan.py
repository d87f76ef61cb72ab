"""Which images go into which shard: a pure function of the source and the spec."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from dcvae.errors import UserError
from dcvae.progress import OnProgress
from dcvae.sharding.ledger import Ledger
from dcvae.sharding.sources import Item, Source
from dcvae.shards.encodings import encoding_of

LARGEST = 1024  # pixels
_TOLD = 4096  # images between two progress reports
_PER_SHARD = {64: 4096, 512: 512, 1024: 128}  # samples up to this resolution; some 50 MB


@dataclass(frozen=True)
class Spec:
    """What a shard's bytes depend on besides the images."""

    resolution: int
    min_resolution: int
    channels: int
    samples_per_shard: int
    lossless: bool

    @property
    def resolutions(self) -> list[int]:
        """Ascending powers of two."""
        smallest, largest = self.min_resolution.bit_length(), self.resolution.bit_length()
        return [1 << (n - 1) for n in range(smallest, largest + 1)]

    @property
    def encoding(self) -> dict[int, str]:
        """How images are stored, by resolution."""
        return {r: encoding_of(r, self.lossless) for r in self.resolutions}


def spec_of(
    source: Source,
    *,
    resolution: int,
    min_resolution: int,
    channels: int | None,
    samples_per_shard: int | None,
    lossless: bool,
) -> Spec:
    """The spec for these options; what is None follows from the source or the resolution.

    Raises:
        UserError: one of them is impossible.
    """
    for name, value in (("resolution", resolution), ("min_resolution", min_resolution)):
        if not 4 <= value <= LARGEST or value & (value - 1):
            raise UserError(f"{name} is {value}: it must be a power of two from 4 to {LARGEST}")
    if min_resolution > resolution:
        raise UserError(f"min_resolution {min_resolution} is above the resolution {resolution}")
    channels = source.channels if channels is None else channels
    if channels not in (1, 3):
        raise UserError(f"channels is {channels}: it must be 1 (grey) or 3 (RGB)")
    if samples_per_shard is None:
        samples_per_shard = next(n for most, n in _PER_SHARD.items() if resolution <= most)
    if samples_per_shard < 1:
        raise UserError(f"samples_per_shard is {samples_per_shard}: it must be 1 or more")
    return Spec(resolution, min_resolution, channels, samples_per_shard, lossless)


@dataclass(frozen=True)
class Task:
    """A shard to make: its ``items`` in order, numbered from ``first`` on within the split."""

    split: str
    index: int
    first: int
    items: tuple[Item, ...]

    def inputs(self, spec: Spec) -> str:
        """Hash of everything that determines the shard's content."""
        return _hash(
            asdict(spec),
            self.first,
            [(i.name, i.stamp, i.label, i.bad) for i in self.items],
        )


def chunks(
    items: Iterator[Item], spec: Spec, split: str, index: int = 0, first: int = 0
) -> Iterator[Task]:
    """``items`` as shards, lazily; ``index`` and ``first`` are the first shard's."""
    while chunk := tuple(islice(items, spec.samples_per_shard)):
        yield Task(split, index, first, chunk)
        first += len(chunk)
        index += 1


@dataclass(frozen=True)
class Survey:
    """What listing a source has found: the number of images per split, a fingerprint of names,
    stamps and labels in the source's order, and the images themselves."""

    counts: dict[str, int]
    fingerprint: str
    ledger: Ledger

    @property
    def total(self) -> int:
        """Images of all splits."""
        return sum(self.counts.values())


def survey(source: Source, progress: OnProgress | None = None) -> Survey:
    """List all images without reading any.

    Raises:
        UserError: there are none to train on.
    """
    ledger, digest, counts = Ledger(), hashlib.sha256(), {}
    seen = 0

    def hashed(split: str) -> Iterator[Item]:
        nonlocal seen
        for item in source.items(split):
            line = json.dumps([split, item.name, item.stamp, item.label, item.bad])
            digest.update(line.encode() + b"\n")
            seen += 1
            if progress and seen % _TOLD == 0:
                progress(seen, None, f"looking through {source.name}")
            yield item

    for split in source.splits:
        counts[split] = ledger.add(split, hashed(split))
    if not counts.get("train"):
        raise UserError(f"{source.uri} has no images to train on")
    return Survey(counts, digest.hexdigest(), ledger)


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
