"""One training at a time per run: whoever trains it holds a lease in its folder and renews it.

On the same machine, a holder that was killed is recognised by its process, and the run goes on at
once. Elsewhere nobody can check: a lease that has not been renewed for ``STALE`` seconds, by the
watcher's own clock, counts as abandoned.
"""

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dcvae.errors import UserError
from dcvae.processes import lives, start_of
from dcvae.run_folder import LEASE
from dcvae.storage import Conflict, NotFound, ObjectInfo, Storage, timestamp, to_json

RENEWED = 15.0  # seconds between two renewals
STALE = 60.0  # seconds without renewal
_LOOK = 1.0
log = logging.getLogger(__name__)


@contextmanager
def leased(run: Storage) -> Iterator[None]:
    """Hold the lease of the run folder ``run`` within the block, renewing it in the background.

    Raises:
        UserError: another training is working on this run, or has taken it over meanwhile.
    """
    lease = _Lease(run)
    lease.take()
    try:
        yield
    finally:
        lease.give_back()
        if lease.lost.is_set():
            raise UserError(
                f"{run.uri} was taken over by another training while this one did not answer: "
                "this one has stopped"
            ) from None


class _Lease:
    def __init__(self, run: Storage) -> None:
        self._run = run
        self._mine = {
            "owner": secrets.token_hex(8),
            "machine": _machine(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": start_of(os.getpid()),
            "since": timestamp(),
        }
        self._etag = ""
        self._done, self.lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self) -> None:
        """Write the lease, once nobody else holds it."""
        while not self._etag:
            present = self._run.stat(LEASE)
            try:
                if present is None:
                    self._etag = self._write(if_absent=True)
                else:
                    self._refuse_a_living(present)
                    self._etag = self._write(if_match=present.etag)
            except (Conflict, NotFound):
                continue  # somebody took or returned it in between: look again
        self._thread.start()

    def give_back(self) -> None:
        """Stop renewing, and remove the lease if it is still ours."""
        self._done.set()
        self._thread.join()
        with suppress(UserError):  # the storage is gone; the lease becomes stale
            found = self._run.stat(LEASE)
            if found and found.etag == self._etag:
                self._run.delete(LEASE)

    def _write(self, **condition: Any) -> str:
        return self._run.write(LEASE, to_json({**self._mine, "renewed": timestamp()}), **condition)

    def _renew(self) -> None:
        while not self._done.wait(RENEWED):
            try:
                self._etag = self._write(if_match=self._etag)
            except Conflict:
                self.lost.set()
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except UserError as error:
                log.warning("the lease of %s could not be renewed: %s", self._run.uri, error)

    def _refuse_a_living(self, present: ObjectInfo) -> None:
        """Return once the holder of the lease ``present`` is known to be gone."""
        holder = _read(self._run)
        who = f"process {holder.get('pid', '?')} on {holder.get('host', 'another machine')}"
        if holder.get("machine") == self._mine["machine"]:
            pid, started = holder.get("pid"), holder.get("started")
            if not (isinstance(pid, int) and isinstance(started, float) and lives(pid, started)):
                return
        elif self._unchanged(present, who):
            return
        raise UserError(
            f"{self._run.uri} is being trained by {who} since {holder.get('since', '?')}: wait "
            "for it or stop it, or choose another folder with --out"
        )

    def _unchanged(self, present: ObjectInfo, who: str) -> bool:
        """Whether nobody renews the lease, after watching it long enough to be sure."""
        log.warning(
            "%s was being trained by %s: looking for %.0f s whether it still is",
            *(self._run.uri, who, STALE),
        )
        deadline = time.monotonic() + STALE
        while time.monotonic() < deadline:
            time.sleep(_LOOK)
            found = self._run.stat(LEASE)
            if found is None:
                raise Conflict("the lease was given back")
            if found.etag != present.etag:
                return False
        return True


def _read(run: Storage) -> dict[str, Any]:
    """The content of the lease; empty if it is damaged, in which case it is watched."""
    try:
        found = run.read_json(LEASE)
    except NotFound:
        raise
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def _machine() -> str:
    """An identifier shared by processes that can see each other's IDs."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"
