"""The interface of every storage."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dcvae.errors import UserError


class NotFound(UserError):  # noqa: N818
    """No object has this key."""


class Conflict(Exception):  # noqa: N818
    """A conditional write came too late: another writer was first. Nothing was changed."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object: its key below the root, size in bytes, and etag, which every write changes."""

    key: str
    size: int
    etag: str


class Storage(ABC):
    """Objects below one root. Keys are relative POSIX paths; ``..`` is refused.

    Instances are cheap, picklable and thread-safe. All methods raise :class:`UserError` if the
    storage cannot be used (no such bucket, wrong credentials, unreachable until patience runs out).
    """

    uri: str

    @abstractmethod
    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The body, or ``length`` bytes of it from ``start`` (fewer at the end).

        Raises:
            NotFound: there is no such object.
        """

    def read_listed(self, info: ObjectInfo) -> bytes:
        """The whole body of exactly the object that :meth:`list` has found.

        Raises:
            NotFound: the object no longer exists.
            UserError: it was replaced since, or answers stay wrong until patience runs out.
        """
        body = self.read(info.key)
        if len(body) != info.size:
            raise UserError(f"{self.uri}/{info.key} was replaced since it was listed: start again")
        return body

    @abstractmethod
    def open(self, key: str, start: int = 0) -> BinaryIO:
        """A seekable stream over the body, starting at byte ``start``; uses bounded memory.

        Raises:
            NotFound: there is no such object.
        """

    @abstractmethod
    def write(
        self,
        key: str,
        data: bytes | Path,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        """Store ``data`` (bytes, or the content of a local file) whole or not at all.

        Args:
            if_absent: only if there is no such object yet.
            if_match: only if the object still has this etag.

        Returns:
            The new etag.

        Raises:
            Conflict: the condition does not hold.
        """

    @abstractmethod
    def stat(self, key: str) -> ObjectInfo | None:
        """The object's key, size and etag; None if there is no such object."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose keys start with the string ``prefix``, in byte order of their keys."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""

    @abstractmethod
    def child(self, *parts: str) -> "Storage":
        """The storage below this one."""

    def read_text(self, key: str) -> str:
        """The body as UTF-8 text."""
        try:
            return self.read(key).decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{self.uri}/{key} is not UTF-8 text ({error})") from error

    def read_json(self, key: str) -> Any:
        """The body parsed as JSON."""
        try:
            return json.loads(self.read_text(key))
        except (ValueError, RecursionError) as error:  # RecursionError: endlessly nested
            raise UserError(f"{self.uri}/{key} is not valid JSON ({error})") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"
