"""Objects as files in a folder."""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dcvae.errors import UserError
from dcvae.storage.base import Conflict, NotFound, ObjectInfo, Storage
from dcvae.storage.metrics import ERRORS, REQUESTS
from dcvae.storage.uri import check_key

TEMPORARY = ".part"
_LEFT = re.compile(rf"\..+\.[0-9a-f]{{16}}{re.escape(TEMPORARY)}")


class FileStorage(Storage):
    """Files below ``root``. A write is a temporary file, synced, then renamed under a lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = root.as_uri()

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return FileStorage, (self.root,)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        with self._operation("read", key), self._path(key).open("rb") as stream:
            stream.seek(start)
            return stream.read(-1 if length is None else length)

    def open(self, key: str, start: int = 0) -> BinaryIO:
        with self._operation("open", key):
            stream = self._path(key).open("rb")
        stream.seek(start)
        return stream

    def write(
        self,
        key: str,
        data: bytes | Path,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        path = self._path(key)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
        with self._operation("write", key):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path.parent)
            try:
                with _mine(temporary) as stream:
                    _fill(stream, data)
                    with _locked(path.parent) as folder:
                        self._check(key, if_absent, if_match)
                        temporary.replace(path)
                        os.fsync(folder)
                        return _etag(path.stat())
            finally:
                temporary.unlink(missing_ok=True)

    def stat(self, key: str) -> ObjectInfo | None:
        with self._operation("stat", key):
            try:
                status = self._path(key).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return ObjectInfo(key, status.st_size, _etag(status)) if _is_file(status) else None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder = self.root / check_key(prefix.rpartition("/")[0]) if "/" in prefix else self.root
        with self._operation("list", prefix):
            paths = [
                path
                for path in _files(folder)
                if path.relative_to(self.root).as_posix().startswith(prefix)
            ]
        keyed = ((path.relative_to(self.root).as_posix(), path) for path in paths)
        for key, _ in sorted(keyed, key=lambda pair: pair[0].encode()):
            found = self.stat(key)
            if found:  # otherwise deleted meanwhile
                yield found

    def delete(self, key: str) -> None:
        with self._operation("delete", key):
            self._path(key).unlink(missing_ok=True)

    def child(self, *parts: str) -> "FileStorage":
        root = self.root
        for part in parts:
            root = root / check_key(part.strip("/"))
        return FileStorage(root)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _check(self, key: str, if_absent: bool, if_match: str | None) -> None:
        if not if_absent and if_match is None:
            return
        present = self.stat(key)
        if if_absent and present:
            raise Conflict(f"{self.uri}/{key} exists already")
        if if_match is not None and (present is None or present.etag != if_match):
            raise Conflict(f"{self.uri}/{key} was changed by somebody else")

    @contextmanager
    def _operation(self, name: str, key: str) -> Iterator[None]:
        REQUESTS.labels(name).inc()
        try:
            yield
        except OSError as error:
            absent = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)
            if absent and name in ("read", "open"):
                raise NotFound(f"there is no {self.uri}/{key}") from error
            ERRORS.inc()
            raise UserError(f"cannot {name} {self.uri}/{key}: {error.strerror}") from error


def _fill(stream: BinaryIO, data: bytes | Path) -> None:
    if isinstance(data, Path):
        with data.open("rb") as source:
            shutil.copyfileobj(source, stream, 1 << 20)
    else:
        stream.write(data)
    stream.flush()
    os.fsync(stream.fileno())


@contextmanager
def _mine(temporary: Path) -> Iterator[BinaryIO]:
    """A new file that is locked for as long as its writer lives."""
    while True:
        with temporary.open("xb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if os.fstat(stream.fileno()).st_nlink:  # otherwise just removed as a leftover
                yield stream
                return


_looked_at: set[tuple[int, Path]] = set()


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed writers have left in ``folder``; done once per process."""
    if (os.getpid(), folder) in _looked_at:
        return
    _looked_at.add((os.getpid(), folder))
    with os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if _LEFT.fullmatch(entry.name)]
    for path in left:
        with suppress(OSError), path.open("r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # succeeds if its writer is gone
            path.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Hold the folder's advisory lock, so that a check and the rename after it are atomic."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _files(folder: Path) -> Iterator[Path]:
    """The files below ``folder``, if it exists. Raises OSError at a folder that is private."""
    for parent, _, names in os.walk(folder, onerror=_unless_absent):
        yield from (Path(parent, n) for n in names if not n.endswith(TEMPORARY))


def _unless_absent(error: OSError) -> None:
    """Skip folders that do not exist, and what every ext4 volume keeps for its administrator;
    by default, os.walk would silently skip private folders too."""
    mine = Path(error.filename or "").name != "lost+found"
    if mine and not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _is_file(status: os.stat_result) -> bool:
    return status.st_mode & 0o170000 == 0o100000


def _etag(status: os.stat_result) -> str:
    # Every write is a new file, so inode and time tell two writes apart.
    return f"{status.st_mtime_ns:x}-{status.st_ino:x}-{status.st_size:x}"
