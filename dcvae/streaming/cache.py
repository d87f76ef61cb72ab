"""A bounded cache of shards on a local disk, for the epochs after the first."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import Counter

from dcvae.errors import UserError
from dcvae.shards.manifest import Shard

HITS = Counter("dcvae_stream_cache_hits", "Shards found in the local cache.")

_log = logging.getLogger(__name__)


class ShardCache:
    """Shards in ``folder``, each in a file named by its hash; at most ``limit`` bytes in total.

    Any number of threads and processes may share a folder, even with different limits and data
    sets: files appear whole, and the least recently used are deleted first, under a lock that is
    released when its holder dies. What is read is not trusted:
    :func:`dcvae.shards.reader.read_shard` checks it just like what comes from storage.

    Raises:
        UserError: ``folder`` cannot be written.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                pass
        except OSError as error:
            raise UserError(f"the cache folder {folder} cannot be used: {error.strerror}") from None

    def get(self, shard: Shard) -> bytes | None:
        """The shard's bytes, or None."""
        file = self._file(shard)
        try:
            body = file.read_bytes()
            os.utime(file)
        except OSError:
            return None
        HITS.inc()
        return body

    def put(self, shard: Shard, body: bytes) -> None:
        """Keep the bytes, deleting the least recently used shards to make room.

        If the disk refuses, the run goes on without the cache, with a warning.
        """
        if len(body) > self._limit or self._file(shard).exists():
            return
        try:
            with self._locked():
                self._make_room(len(body))
                part = self._file(shard).with_suffix(".part")
                part.write_bytes(body)
                part.replace(self._file(shard))
        except OSError as error:
            _log.warning("the cache folder %s takes no more: %s", self._folder, error.strerror)

    def drop(self, shard: Shard) -> None:
        """Forget a shard whose file is damaged."""
        self._file(shard).unlink(missing_ok=True)

    def _file(self, shard: Shard) -> Path:
        return self._folder / f"{shard.sha256}.tar"

    def _make_room(self, size: int) -> None:
        """Delete until ``size`` more bytes fit. The lock must be held."""
        for part in self._folder.glob("*.part"):
            part.unlink(missing_ok=True)  # its writer is dead, since we have the lock
        found = []
        for file in self._folder.glob("*.tar"):
            try:
                status = file.stat()
            except FileNotFoundError:  # another process has deleted it
                continue
            found.append((status.st_mtime_ns, status.st_size, file))
        total = sum(length for _, length, _ in found) + size
        for _, length, file in sorted(found):
            if total <= self._limit:
                return
            file.unlink(missing_ok=True)
            total -= length

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
