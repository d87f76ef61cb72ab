"""The batches a model sees."""

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from dcvae.errors import UserError
from dcvae.shards.manifest import Manifest
from dcvae.shards.reader import Integers, Samples
from dcvae.storage import Storage
from dcvae.streaming.cache import ShardCache
from dcvae.streaming.level import Batch, Level
from dcvae.streaming.order import Order, Place

__all__ = ["Batch", "Stream", "read_split"]

_AHEAD = 4  # batches prepared in advance
_LAST_BATCH_SECONDS = 10  # a fetch that stalls for longer may outlive its stream


class Stream:
    """Endless batches of one split at one resolution, in an order that depends only on ``seed``.

    The sequence of global batches is the same for any world size, number of workers and restarts.
    ``workers`` threads fetch shards ahead of time, and as many others decode compressed images.
    With a ``cache``, later epochs read local files.

    Raises:
        UserError: no such split or resolution, or an empty split; later, from the iterators of
            :meth:`batches`, a damaged shard, named.
    """

    def __init__(
        self,
        storage: Storage,
        manifest: Manifest,
        *,
        split: str = "train",
        resolution: int,
        seed: int,
        lanes: int = 8,
        workers: int = 2,
        cache: ShardCache | None = None,
    ) -> None:
        self._level = Level(storage, manifest, split, resolution, cache)
        self._order = Order(self._level.sizes, seed, lanes)
        self._workers = workers
        self._runs: list[_Run] = []
        self.wait_seconds = 0.0

    @property
    def samples(self) -> int:
        """Samples in one epoch."""
        return self._order.total

    def batches(
        self, position: int, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """This rank's parts of the global batches from ``position`` on, without end.

        Args:
            position: samples already seen, counted over all epochs and ranks.
            batch_size: samples per global batch, a multiple of ``world_size``.

        Raises:
            UserError: ``world_size`` does not divide ``batch_size``.
        """
        if batch_size < 1 or batch_size % world_size or not 0 <= rank < world_size:
            raise UserError(
                f"a batch of {batch_size} cannot be shared by {world_size} ranks: choose a "
                "batch size that the number of ranks divides"
            )
        part = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        run = _Run(self._level, self._order, position, batch_size, part, self._workers)
        self._runs.append(run)
        return self._consume(run)

    def close(self) -> None:
        """Stop all threads. Iterators of this stream end."""
        for run in self._runs:
            run.stop()
        self._runs.clear()

    def _consume(self, run: "_Run") -> Iterator[Batch]:
        try:
            while True:
                began = time.perf_counter()
                batch = run.get()
                self.wait_seconds += time.perf_counter() - began
                if batch is None:
                    return
                yield batch
        finally:
            run.stop()


class _Run:
    """One iteration: a thread that assembles batches, and a pool that fetches shards."""

    def __init__(
        self, level: Level, order: Order, position: int, size: int, part: slice, workers: int
    ) -> None:
        self._level, self._order = level, order
        self._position, self._size, self._part = position, size, part
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="shards")
        # Separate threads: a stalled fetch must not delay images that have arrived.
        self._decoders = ThreadPoolExecutor(max(1, workers), thread_name_prefix="decoders")
        self._lanes: dict[int, list[int]] = {}  # lane → the shards it holds
        self._shards: dict[int, Future[Samples]] = {}
        self._thread = threading.Thread(target=self._produce, name="stream", daemon=True)
        self._thread.start()

    def get(self) -> Batch | None:
        """The next batch; None once stopped. Raises errors of the threads."""
        while not self._stopped.is_set():
            try:
                found = self._ready.get(timeout=0.5)
            except queue.Empty:
                continue
            if isinstance(found, BaseException):
                self.stop()
                raise found
            return found
        return None

    def stop(self) -> None:
        """End the threads, waiting for the one that makes tensors: a process that exits while a
        thread is inside the tensor library's code aborts."""
        self._stopped.set()
        for pool in (self._pool, self._decoders):
            pool.shutdown(wait=False, cancel_futures=True)
        if threading.current_thread() is not self._thread:
            self._thread.join(_LAST_BATCH_SECONDS)

    def _produce(self) -> None:
        try:
            position = self._position
            while not self._stopped.is_set():
                self._put(self._batch(position))
                position += self._size
        except BaseException as error:
            if not self._stopped.is_set():
                self._put(error)

    def _put(self, item: Batch | BaseException) -> None:
        while not self._stopped.is_set():
            try:
                self._ready.put(item, timeout=0.5)
            except queue.Full:
                continue
            return

    def _batch(self, position: int) -> Batch:
        place = self._order.batch(position, self._size)
        part = self._part
        self._fetch(place)
        numbers, samples = place.shards[part], place.samples[part]
        ready = {n: self._shards[n].result() for n in set(numbers.tolist())}
        return self._level.collate(numbers, samples, ready, position, self._decoders)

    def _fetch(self, place: Place) -> None:
        """Request the shards of this batch, then those that its lanes need next."""
        part = self._part
        columns = (place.lanes, place.epochs, place.slots, place.shards)
        later = []
        for lane, rows in _by_lane(np.stack([column[part] for column in columns], axis=1)):
            held = [shard for _, _, _, shard in rows]
            for number in held:
                self._ask(number)
            _, epoch, slot, _ = rows[-1]
            later.append(self._order.next_shard(lane, epoch, slot))
            self._lanes[lane] = [*held, later[-1]]
        for number in later:
            self._ask(number)
        kept = {number for held in self._lanes.values() for number in held}
        for number in set(self._shards) - kept:
            self._shards.pop(number).cancel()

    def _ask(self, number: int) -> None:
        if number not in self._shards:
            self._shards[number] = self._pool.submit(self._level.read, number)


def _by_lane(rows: Integers) -> Iterator[tuple[int, list[list[int]]]]:
    distinct = np.unique(rows, axis=0)  # sorted by lane, epoch, slot
    for lane in np.unique(distinct[:, 0]):
        yield int(lane), distinct[distinct[:, 0] == lane].tolist()


def read_split(
    storage: Storage,
    manifest: Manifest,
    split: str,
    resolution: int,
    batch_size: int,
    chosen: Integers | None = None,
) -> Iterator[Batch]:
    """The whole split once, in order; the last batch may be smaller. For evaluation.

    Args:
        chosen: only the samples with these numbers in the split, ascending; reads only the shards
            that hold them.

    Raises:
        UserError: no such split or resolution, or a damaged shard, named.
    """
    level = Level(storage, manifest, split, resolution)
    wanted = np.arange(sum(level.sizes), dtype=np.int64) if chosen is None else chosen
    numbers = np.searchsorted(np.cumsum(level.sizes), wanted, side="right")
    samples = wanted - level.firsts[numbers]
    needed, places = np.unique(numbers, return_inverse=True)
    ready: dict[int, Future[Samples]] = {}
    with ThreadPoolExecutor(1, thread_name_prefix="shards") as pool:
        try:
            for position in range(0, len(wanted), batch_size):
                here = slice(position, position + batch_size)
                first, last = places[here][[0, -1]]
                ahead = needed[first : last + 2].tolist()  # one more than this batch needs
                ready = {n: ready.get(n) or pool.submit(level.read, n) for n in ahead}
                shards = {n: ready[n].result() for n in ahead[: last - first + 1]}
                yield level.collate(numbers[here], samples[here], shards, position)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
