"""The log files of the ranks on this machine, and whether they are kept."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dcvae.environment import LOGS
from dcvae.errors import UserError
from dcvae.storage import open_storage

_PREFIX, _LOCK = "dcvae-ranks-", ".lock"


@dataclass
class RankLogs:
    """The logs of one start of the ranks."""

    folder: Path
    keep: str | None
    """URI of the folder to copy them to if they are kept; None: they stay where they are."""
    _stays: bool = field(default=False, init=False)

    def kept(self) -> str:
        """Keep them, because they may explain a failure; return where they are."""
        if self._stays or self.keep is None:
            self._stays = True
            return str(self.folder)
        place = open_storage(self.keep).child(time.strftime("%Y-%m-%d-%H%M%S", time.gmtime()))
        try:
            for file in self.folder.rglob("*"):
                if file.is_file() and file.name != _LOCK:
                    place.write(file.relative_to(self.folder).as_posix(), file)
        except UserError:  # perhaps the storage is what failed
            self._stays = True
            return str(self.folder)
        return place.uri

    @property
    def stays(self) -> bool:
        """Whether the folder itself stays."""
        return self._stays


@contextmanager
def rank_logs(keep: str | None) -> Iterator[RankLogs]:
    """A folder for logs that is removed after the block, unless :meth:`RankLogs.kept` was called.

    If DCVAE_LOGS names a folder, the logs are in it and stay. Logs of a launcher that was killed
    are removed by the next one.
    """
    named = os.environ.get(LOGS)
    if named:
        Path(named).mkdir(parents=True, exist_ok=True)
        logs = RankLogs(Path(tempfile.mkdtemp(prefix="ranks-", dir=named)), None)
        yield logs
        return
    _remove_leftovers(Path(tempfile.gettempdir()))
    logs = RankLogs(Path(tempfile.mkdtemp(prefix=_PREFIX)), keep)
    with (logs.folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held for as long as this process lives
        try:
            yield logs
        finally:
            if logs.stays:
                (logs.folder / _LOCK).unlink()
            else:
                shutil.rmtree(logs.folder, ignore_errors=True)


def _remove_leftovers(place: Path) -> None:
    """Remove the folders of launchers that were killed: nobody holds their locks."""
    for lock in place.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
