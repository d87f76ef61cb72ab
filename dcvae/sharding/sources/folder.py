"""Image files in a local folder."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dcvae.errors import UserError
from dcvae.sharding.sources.files import FileSource, bounded, too_large
from dcvae.sharding.sources.hints import Hints
from dcvae.sharding.sources.kinds import HEAD, by_bytes, by_suffix, is_junk, kind_of
from dcvae.sharding.sources.listing import File
from dcvae.shards.encodings import BadImage


class Folder(FileSource):
    """Images below ``root``. Links that lead outside are followed only if the user asks for it."""

    def __init__(self, uri: str, root: Path, hints: Hints) -> None:
        super().__init__(uri, root.resolve().name or "images", hints)
        self._root = root.resolve()

    def find(self) -> Iterator[File]:
        # Not recursive: folders may be nested deeper than Python's stack allows.
        stack = [(self._entries(str(self._root)), os.path.realpath(self._root))]
        while stack:
            entry = next(stack[-1][0], None)
            if entry is None:
                stack.pop()
            elif is_junk(entry.name):
                continue
            elif entry.name.startswith("."):
                yield self._ignored(entry, "hidden")
            elif not _is_folder(entry):
                yield self._file(entry)
            elif not entry.is_symlink():
                stack.append((self._entries(entry.path), os.path.realpath(entry.path)))
            else:
                target = os.path.realpath(entry.path)
                if self._inside(target) or target in (place for _, place in stack):
                    yield self._ignored(entry, "links to folders within")
                elif self.hints.follow_links:
                    stack.append((self._entries(entry.path), target))
                else:
                    raise UserError(
                        f"{_shown(entry.path)} is a link to the folder {_shown(target)}: say "
                        "--follow-links to take what links lead to, or remove it"
                    )

    def read(self, reference: Any) -> bytes:
        try:
            with (self._root / reference).open("rb") as stream:
                return bounded(stream)
        except OSError as error:
            raise BadImage(f"unreadable ({error.strerror})") from error

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return iter(sorted(entries, key=lambda entry: os.fsencode(entry.name)))
        except OSError as error:
            raise UserError(f"cannot list {_shown(folder)}: {error.strerror}") from error

    def _relative(self, entry: os.DirEntry[str]) -> str:
        return entry.path[len(str(self._root).rstrip("/")) + 1 :]

    def _inside(self, target: str) -> bool:
        return Path(target).is_relative_to(self._root)

    def _ignored(self, entry: os.DirEntry[str], kind: str) -> File:
        return File(_shown(self._relative(entry)), ignored=kind)

    def _file(self, entry: os.DirEntry[str]) -> File:
        path = self._relative(entry)
        name = _shown(path)
        picture = by_suffix(name)
        if picture is False:
            return File(name, ignored=kind_of(name))
        try:
            if entry.is_symlink() and not (
                self.hints.follow_links or self._inside(os.path.realpath(entry.path, strict=True))
            ):
                return File(name, bad="a link to outside the folder")
            status = entry.stat()
            plain = stat.S_ISREG(status.st_mode)
            if picture is None:
                if not plain:
                    return File(name, ignored=kind_of(name))
                with open(entry.path, "rb") as stream:  # noqa: PTH123
                    if not by_bytes(stream.read(HEAD)):
                        return File(name, ignored=kind_of(name))
        except OSError as error:
            return File(name, bad=f"unreadable ({error.strerror})")
        if not plain:
            return File(name, bad="no plain file")
        stamp = f"{status.st_size}-{status.st_mtime_ns}"
        return File(name, stamp, status.st_size, path, too_large(status.st_size))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _shown(path: str) -> str:
    """``path`` as UTF-8 text; bytes that are not UTF-8 are written as ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
