"""From a source of images to a shard set."""

import ctypes
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from typing import Literal, cast

from pydantic import ValidationError

import dcvae
from dcvae.data.build import Record, make, record_key
from dcvae.data.claim import Claim
from dcvae.data.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    Encoding,
    Manifest,
    Skipped,
    fingerprint,
    load_manifest,
    version_key,
)
from dcvae.data.manifest import Source as SourceEntry
from dcvae.data.plan import Settings, Survey, Task, settings, survey, tasks
from dcvae.data.sources import Source, open_source
from dcvae.data.sources.opener import TEST_FRACTION
from dcvae.errors import UserError
from dcvae.progress import Report
from dcvae.storage import Conflict, NotFound, Storage, open_storage

_SHOWN = 3  # bad images named in a message


def shard(
    source: str | Source,
    destination: str,
    *,
    resolution: int,
    min_resolution: int = 4,
    channels: int | None = None,
    name: str | None = None,
    samples_per_shard: int | None = None,
    max_bad_fraction: float = 0.01,
    test: float = TEST_FRACTION,
    lossless: bool = False,
    workers: int = 1,
    progress: Report | None = None,
) -> Manifest:
    """Cut the images of ``source`` into a shard set at ``destination`` and return its manifest.

    The same call again continues where it was killed, and writes nothing when all is there.
    The result does not depend on ``workers`` or on interruptions. Memory does not grow with the
    number of images.

    Args:
        source: see :func:`dcvae.data.sources.open_source`.
        resolution: side of the largest images, a power of two from 4 to 1024.
        min_resolution: side of the smallest.
        channels: 1 (grey) or 3 (RGB); as the source by default.
        name: of the data set; the source's by default.
        samples_per_shard: by default so many that a shard has some 50 MB at most.
        max_bad_fraction: of the images may be unusable; they are listed in the manifest.
        test: fraction or number of images held out where the source has no test split.
        lossless: store images from 256 pixels up as PNG instead of JPEG.
        workers: processes that decode and resize.
        progress: told the number of images done and of all.

    Raises:
        UserError: the source or the settings cannot be used, too many images are bad, or
            ``destination`` holds something else. No manifest is written then.
    """
    opened = open_source(source, test) if isinstance(source, str) else source
    chosen = settings(
        opened,
        resolution=resolution,
        min_resolution=min_resolution,
        channels=channels,
        samples_per_shard=samples_per_shard,
        lossless=lossless,
    )
    storage = open_storage(destination)
    seen = survey(opened)
    present = _published(storage)
    if present is not None:
        return _unchanged(present, storage, opened, chosen, seen)
    claim = Claim(storage, opened.uri, chosen, seen)
    claim.take()
    counter = _Counter(seen.total, max_bad_fraction, f"sharding {name or opened.name}", progress)
    records: dict[str, list[Record]] = {}
    for split in seen.counts:
        done = _make_all(opened, chosen, tasks(opened, chosen, split), claim, workers, counter)
        records[split] = [record for _, record in sorted(done.items())]
    manifest = _manifest(opened, chosen, seen, records, name or opened.name)
    return _publish(storage, claim, manifest)


def _published(storage: Storage) -> Manifest | None:
    return None if storage.stat(MANIFEST) is None else load_manifest(storage)


def _unchanged(
    present: Manifest, storage: Storage, source: Source, chosen: Settings, seen: Survey
) -> Manifest:
    """The manifest that is there, if it is of the same images and settings."""
    mine = (chosen.resolutions, chosen.channels, chosen.samples_per_shard)
    theirs = (present.resolutions, present.channels, present.samples_per_shard)
    encoding = {str(r): kind for r, kind in chosen.encoding.items()}
    if mine != theirs or encoding != present.encoding:
        raise UserError(
            f"{storage.uri} holds a shard set with other settings (resolutions, channels, samples "
            "per shard or encoding): choose another destination"
        )
    if present.source.fingerprint != seen.fingerprint:
        raise UserError(
            f"{storage.uri} holds a shard set of other images ({present.source.uri}): choose "
            "another destination"
        )
    return present


class _Counter:
    """Counts images, tells the progress, and stops when too many are bad."""

    def __init__(
        self, total: int, max_bad_fraction: float, what: str, progress: Report | None
    ) -> None:
        self._total, self._what, self._progress = total, what, progress
        self._fraction = max_bad_fraction
        self._done, self._bad = 0, 0
        self._examples: list[str] = []
        self._tell()

    def add(self, record: Record) -> None:
        self._done += len(record.items)
        self._bad += len(record.skipped)
        self._examples += [f"{name} ({reason})" for name, reason in record.skipped]
        del self._examples[_SHOWN:]
        self._tell()
        if self._bad > self._fraction * self._total:
            raise UserError(
                f"{self._bad} of {self._total} images cannot be used, more than the allowed "
                f"{100 * self._fraction:g} %: {'; '.join(self._examples)}; mend or remove them, "
                "or raise max_bad_fraction"
            )

    def _tell(self) -> None:
        if self._progress:
            self._progress(self._done, self._total, self._what)


def _make_all(
    source: Source,
    chosen: Settings,
    all_tasks: Iterator[Task],
    claim: Claim,
    workers: int,
    counter: _Counter,
) -> dict[int, Record]:
    """Make the shards that are not there yet; index → record of every shard of the split."""
    done: dict[int, Record] = {}
    missing = _missing(claim.storage, chosen, all_tasks, done, counter)
    if workers <= 1:
        for task in missing:
            done[task.index] = make(source, chosen, task, claim)
            counter.add(done[task.index])
        return done
    for task, record in _in_processes(source, chosen, missing, claim, workers):
        done[task.index] = record
        counter.add(record)
    return done


def _missing(
    storage: Storage,
    chosen: Settings,
    all_tasks: Iterator[Task],
    done: dict[int, Record],
    counter: _Counter,
) -> Iterator[Task]:
    """The tasks without a valid record; the records of the others go into ``done``."""
    sizes: dict[str, int] | None = None
    for task in all_tasks:
        if sizes is None:
            sizes = {info.key: info.size for info in storage.list(f"{task.split}/")}
        record = _record(storage, task, sizes)
        if record is None or record.inputs != task.inputs(chosen):
            yield task
        else:
            done[task.index] = record
            counter.add(record)


def _record(storage: Storage, task: Task, sizes: dict[str, int]) -> Record | None:
    """The record of a finished shard whose tars are all there."""
    key = record_key(task.split, task.index)
    if key not in sizes:
        return None
    try:
        record = Record.model_validate_json(storage.read(key))
    except (NotFound, ValidationError):
        return None
    whole = all(sizes.get(shard.key) == shard.bytes for shard in record.shards.values())
    return record if whole else None


def _in_processes(
    source: Source, chosen: Settings, missing: Iterator[Task], claim: Claim, workers: int
) -> Iterator[tuple[Task, Record]]:
    """Make shards in ``workers`` processes, with few tasks waiting so that memory stays small."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
        running: dict[Future[Record], Task] = {}
        try:
            for task in missing:
                running[pool.submit(make, source, chosen, task, claim)] = task
                while len(running) >= 2 * workers:
                    yield from _finished(running)
            while running:
                yield from _finished(running)
        except BrokenProcessPool:
            raise UserError(
                "a sharding process was killed, most likely for want of memory: use fewer workers "
                "or smaller shards, and run the same command to continue"
            ) from None
        except BaseException:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise


def _finished(running: dict[Future[Record], Task]) -> Iterator[tuple[Task, Record]]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield running.pop(future), future.result()


def _start_worker() -> None:
    """Die with the parent, and quietly on Ctrl-C."""
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _manifest(
    source: Source,
    chosen: Settings,
    seen: Survey,
    records: dict[str, list[Record]],
    name: str,
) -> Manifest:
    splits = {
        split: {
            str(resolution): [r.shards[str(resolution)] for r in made if r.shards]
            for resolution in chosen.resolutions
        }
        for split, made in records.items()
    }
    if not splits["train"][str(chosen.resolution)]:
        raise UserError(f"{source.uri} has no usable image to train on")
    return Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        resolutions=chosen.resolutions,
        channels=cast(Literal[1, 3], chosen.channels),
        encoding={str(r): cast(Encoding, kind) for r, kind in chosen.encoding.items()},
        samples_per_shard=chosen.samples_per_shard,
        splits=splits,
        classes=source.classes,
        skipped=[
            Skipped(split=split, name=item, reason=reason)
            for split, made in records.items()
            for record in made
            for item, reason in record.skipped
        ],
        source=SourceEntry(uri=source.uri, fingerprint=seen.fingerprint),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        dcvae_version=dcvae.__version__,
        fingerprint=fingerprint(splits),
    )


def _publish(storage: Storage, claim: Claim, manifest: Manifest) -> Manifest:
    """Write the manifest, last of all, if nobody else has."""
    claim.check()
    for split, levels in manifest.splits.items():
        sizes = {info.key: info.size for info in storage.list(f"{split}/")}
        for shard in (shard for shards in levels.values() for shard in shards):
            if sizes.get(shard.key) != shard.bytes:
                raise UserError(
                    f"{storage.uri}/{shard.key} was removed or changed: run the same command again"
                )
    body = manifest.model_dump_json(indent=1).encode()
    storage.write(version_key(manifest.fingerprint), body)
    try:
        storage.write(MANIFEST, body, if_absent=True)
    except Conflict:
        claim.release()
        present = load_manifest(storage)
        if present.fingerprint != manifest.fingerprint:
            raise UserError(
                f"{storage.uri} was finished by another writer with other images: choose another "
                "destination"
            ) from None
        return present
    claim.release()
    return manifest
