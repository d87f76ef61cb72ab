"""Turns a source of images into a shard set: the public functions."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any, Required, Unpack, cast

from dcvae.errors import UserError
from dcvae.progress import OnProgress
from dcvae.sharding.build import Finished
from dcvae.sharding.claim import Claim
from dcvae.sharding.growth import Growth
from dcvae.sharding.parts import Intake, make_all
from dcvae.sharding.plan import Spec, Survey, Task, chunks, spec_of, survey
from dcvae.sharding.publication import manifest_of, publish
from dcvae.sharding.sources import Source, open_source
from dcvae.sharding.sources.hints import HintOptions, Hints
from dcvae.shards.manifest import MANIFEST, Manifest, load_manifest
from dcvae.storage import Storage, open_storage


class Options(HintOptions, total=False):
    """The keyword arguments of :func:`shard`, which explains them."""

    resolution: Required[int]
    min_resolution: int
    channels: int | None
    name: str | None
    samples_per_shard: int | None
    max_bad_fraction: float
    lossless: bool
    workers: int
    progress: OnProgress | None


def shard(source: str | Source, destination: str, **options: Unpack[Options]) -> Manifest:
    """Make a shard set of the images of ``source`` at ``destination`` and return its manifest.

    The same call again continues where it was killed, and writes nothing if everything is there. If
    the source has grown, it adds shards and publishes a new version; the old one stays readable.
    The result does not depend on ``workers`` or on interruptions. Memory does not grow with the
    number of images.

    Args:
        source: see :func:`dcvae.sharding.sources.open_source`.
        destination: a folder or an s3:// prefix.
        resolution: side of the largest images, a power of two from 4 to 1024; required.
        min_resolution: side of the smallest images; 4 by default.
        channels: 1 (grey) or 3 (RGB); those of the source by default.
        name: of the data set; the source's by default.
        samples_per_shard: images per shard; by default, as many as fit in some 50 MB.
        max_bad_fraction: largest share of unusable images, which are listed in the manifest; 0.01
            by default.
        lossless: store images of 256 pixels and more as PNG instead of JPEG.
        workers: number of processes that decode and resize; 1 by default.
        progress: called with the number of images done and in total.
        test, splits, classes, labels, image, follow_links: how to interpret a source given as
            text, see :class:`dcvae.sharding.sources.hints.Hints`.

    Raises:
        UserError: the source or the options cannot be used, too many images are bad, or
            ``destination`` holds something else. No manifest is written then.
    """
    job = _Job(source, destination, options)
    if job.finished is not None:
        return job.finished
    made = {split: job.make(tasks) for split, tasks in job.tasks()}
    name = options.get("name") or job.source.name
    seen, before = job.seen, job.grown_from
    manifest = manifest_of(job.source, job.spec, seen, made, name, before, job.hints)
    return publish(manifest, job.claim)


def shard_part(
    part: int, parts: int, source: str | Source, destination: str, **options: Unpack[Options]
) -> int:
    """Make every ``parts``-th shard, starting with number ``part``; return its number of images.

    Any number of machines may do this at once, one part each. :func:`shard` with the same
    arguments then finds all shards and publishes the set, the same as one made in one go.

    Raises:
        UserError: as for :func:`shard`, or there is no such part.
    """
    if not 0 <= part < parts:
        raise UserError(f"there is no part {part} of {parts}: parts count from 0")
    job = _Job(source, destination, options)
    if job.finished is not None:
        return 0
    made = [job.make(islice(tasks, part, None, parts)) for _, tasks in job.tasks()]
    return sum(shard.images for shards in made for shard in shards)


class _Job:
    """A sharding whose inputs have been checked.

    ``finished`` is the manifest if there is nothing to do, ``grown_from`` the one to extend.
    """

    def __init__(self, source: str | Source, destination: str, options: Options) -> None:
        named = isinstance(source, str)
        self.source = _opened(source, options) if isinstance(source, str) else source
        self.hints: dict[str, Any] | None = asdict(Hints(**_hints(options))) if named else None
        self.spec = spec_of(
            self.source,
            resolution=options["resolution"],
            min_resolution=options.get("min_resolution", 4),
            channels=options.get("channels"),
            samples_per_shard=options.get("samples_per_shard"),
            lossless=options.get("lossless", False),
        )
        storage = open_storage(destination)
        before = storage.stat(MANIFEST)
        self.seen: Survey = survey(self.source, options.get("progress"))
        self.finished: Manifest | None = None
        self.grown_from: Manifest | None = None
        self._growth: Growth | None = None
        counts = self.seen.counts
        if before is not None:
            counts = self._look_at(storage, load_manifest(storage), options.get("name"))
        base = before.etag if before else None
        self.claim = Claim(storage, self.source.uri, self.spec, self.seen, base, self.hints)
        if self.finished is not None:
            return
        self.claim.take()
        self._workers = options.get("workers", 1)
        self._intake = Intake(
            sum(counts.values()),
            options.get("max_bad_fraction", 0.01),
            f"sharding {options.get('name') or self.source.name}",
            options.get("progress"),
        )

    def tasks(self) -> Iterator[tuple[str, Iterator[Task]]]:
        """(split, its shards, whether they exist already or not)."""
        for split in self.seen.counts:
            if self._growth is not None:
                yield split, self._growth.tasks(self.spec, split)
            else:
                yield split, chunks(self.seen.ledger.shuffled(split), self.spec, split)

    def make(self, tasks: Iterator[Task]) -> list[Finished]:
        """Make the missing shards; return all."""
        return make_all(self.source, self.spec, tasks, self.claim, self._workers, self._intake)

    def _look_at(self, storage: Storage, present: Manifest, name: str | None) -> dict[str, int]:
        """Compare with the published set; return the number of new images per split."""
        _check_spec(storage, present, self.spec)
        _check_words(storage, present, name, self.hints)
        if present.source.fingerprint != self.seen.fingerprint:
            self._growth = Growth(storage, present, self.source, self.seen.ledger)
            if sum(self._growth.counts.values()):
                self.grown_from = present
                return self._growth.counts
        self.finished = present
        return {}


def _opened(source: str, options: Options) -> Source:
    return open_source(source, **_hints(options))


def _hints(options: Options) -> HintOptions:
    names = HintOptions.__annotations__
    given = {name: value for name, value in options.items() if name in names}
    return cast(HintOptions, given)


def _check_words(
    storage: Storage, present: Manifest, name: str | None, hints: dict[str, Any] | None
) -> None:
    """Refuse options that an existing set would ignore."""
    asked: dict[str, tuple[Any, Any]] = {
        "name": (present.name, name if name is not None else present.name)
    }
    if hints is not None and present.source.hints is not None:
        asked |= {key: (present.source.hints.get(key), value) for key, value in hints.items()}
    for key, (there, mine) in asked.items():
        if there != mine:
            raise UserError(
                f"{storage.uri} holds a shard set that was made with --{key.replace('_', '-')} "
                f"{there}, not {mine}: give that, or choose another destination"
            )


def _check_spec(storage: Storage, present: Manifest, mine: Spec) -> None:
    """Refuse to extend a set that was made with another spec."""
    wanted = (mine.resolutions, mine.channels, mine.samples_per_shard)
    encoding = {str(r): kind for r, kind in mine.encoding.items()}
    there = (present.resolutions, present.channels, present.samples_per_shard)
    if wanted != there or encoding != present.encoding:
        raise UserError(
            f"{storage.uri} holds a shard set with other settings (resolutions, channels, samples "
            "per shard or encoding): choose another destination"
        )
