"""Makes the missing shards, in one process or several."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from pydantic import ValidationError

from dcvae.errors import UserError
from dcvae.processes import die_with_parent
from dcvae.progress import OnProgress
from dcvae.sharding.build import Finished, Record, finished, make, record_key
from dcvae.sharding.claim import Claim
from dcvae.sharding.plan import Spec, Task
from dcvae.sharding.sources import Source
from dcvae.sharding.spill import Reader, rounds
from dcvae.storage import NotFound, Storage

_SHOWN = 3  # bad images named in a message


class Intake:
    """Counts images, reports progress, and stops the work if too many are bad."""

    def __init__(
        self, total: int, max_bad_fraction: float, what: str, progress: OnProgress | None
    ) -> None:
        self._total, self._what, self.progress = total, what, progress
        self._fraction = max_bad_fraction
        self._done, self._bad = 0, 0
        self._examples: list[str] = []
        self._tell()

    def add(self, shard: Finished) -> None:
        """Count the images of a finished shard.

        Raises:
            UserError: more than ``max_bad_fraction`` of all images are bad.
        """
        self._done += shard.images
        self._bad += len(shard.skipped)
        self._examples += [f"{name} ({reason})" for name, reason in shard.skipped]
        del self._examples[_SHOWN:]
        self._tell()
        if self._bad > self._fraction * self._total:
            raise UserError(
                f"{self._bad} of {self._total} images cannot be used, more than the allowed "
                f"{100 * self._fraction:g} %: {'; '.join(self._examples)}; mend or remove them, "
                "or raise max_bad_fraction"
            )

    def _tell(self) -> None:
        if self.progress:
            self.progress(self._done, self._total, self._what)


def make_all(
    source: Source,
    spec: Spec,
    tasks: Iterator[Task],
    claim: Claim,
    workers: int,
    intake: Intake,
) -> list[Finished]:
    """Make the missing shards of ``tasks``; return all shards, in order.

    Raises:
        UserError: too many images are bad, the storage fails, or another writer has taken over.
    """
    done: dict[int, Finished] = {}
    missing = _missing(claim.storage, spec, tasks, done, intake)
    shards: Iterator[tuple[Task, Finished]]
    for reader, some in rounds(source, missing, intake.progress):
        if workers <= 1:
            shards = ((task, make(reader, spec, task, claim)) for task in some)
        else:
            shards = _in_processes(reader, spec, some, claim, workers)
        for task, shard in shards:
            done[task.index] = shard
            intake.add(shard)
    return [done[index] for index in sorted(done)]


def read_record(storage: Storage, split: str, index: int) -> Record | None:
    """The record of a finished shard, or None."""
    try:
        return Record.model_validate_json(storage.read(record_key(split, index)))
    except (NotFound, ValidationError):
        return None


def _missing(
    storage: Storage,
    spec: Spec,
    tasks: Iterator[Task],
    done: dict[int, Finished],
    intake: Intake,
) -> Iterator[Task]:
    """The tasks whose record or tars are missing or outdated; the others go into ``done``."""
    sizes: dict[str, int] | None = None
    for task in tasks:
        if sizes is None:
            sizes = {info.key: info.size for info in storage.list(f"{task.split}/")}
        record = None
        if record_key(task.split, task.index) in sizes:
            record = read_record(storage, task.split, task.index)
        valid = (
            record is not None
            and record.inputs == task.inputs(spec)
            and all(sizes.get(shard.key) == shard.bytes for shard in record.shards.values())
        )
        if record is None or not valid:
            yield task
        else:
            done[task.index] = finished(record)
            intake.add(done[task.index])


def _in_processes(
    source: Reader, spec: Spec, missing: Iterator[Task], claim: Claim, workers: int
) -> Iterator[tuple[Task, Finished]]:
    """Make shards in ``workers`` processes; few tasks wait at a time, to save memory."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (os.getpid(),)) as pool:
        running: dict[Future[Finished], Task] = {}
        try:
            for task in missing:
                running[pool.submit(make, source, spec, task, claim)] = task
                while len(running) >= 2 * workers:
                    yield from _completed(running)
            while running:
                yield from _completed(running)
        except BrokenProcessPool:
            raise UserError(
                "a sharding process was killed, most likely for want of memory: use fewer workers "
                "or smaller shards, and run the same command to continue"
            ) from None
        except BaseException:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise


def _completed(running: dict[Future[Finished], Task]) -> Iterator[tuple[Task, Finished]]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield running.pop(future), future.result()


def _start_worker(parent: int) -> None:
    """Have the worker die with its parent, even if that is dead already, and quietly on Ctrl-C."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
