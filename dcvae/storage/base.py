"""What every place for bytes can do."""

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
    """A conditional write came too late: somebody else wrote first. Nothing was changed."""


@dataclass(frozen=True)
class ObjectInfo:
    """One object: key below the storage's root, size in bytes, etag (changes with every write)."""

    key: str
    size: int
    etag: str


class Storage(ABC):
    """Objects below one root. Keys are relative POSIX paths; ``..`` is refused.

    Instances are cheap, can be pickled and used from several threads. All methods raise
    :class:`UserError` when the place cannot be used (no such bucket, wrong credentials,
    unreachable for longer than patience lasts).
    """

    uri: str

    @abstractmethod
    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The body, or ``length`` bytes of it from ``start`` (fewer at its end).

        Raises:
            NotFound: there is no such object.
        """

    def read_listed(self, info: ObjectInfo) -> bytes:
        """The whole body of an object that :meth:`list` has found, and of no other.

        Raises:
            NotFound: there is no such object any more.
            UserError: it was replaced since, or its answers are wrong for longer than patience.
        """
        body = self.read(info.key)
        if len(body) != info.size:
            raise UserError(f"{self.uri}/{info.key} was replaced since it was listed: start again")
        return body

    @abstractmethod
    def open(self, key: str, start: int = 0) -> BinaryIO:
        """A seekable stream over the body, placed at byte ``start``; memory stays bounded.

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
            if_absent: only when there is no such object yet.
            if_match: only while the object's etag is this one.

        Returns:
            The new etag.

        Raises:
            Conflict: the condition does not hold.
        """

    @abstractmethod
    def stat(self, key: str) -> ObjectInfo | None:
        """What is known of the object, or None when there is none."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key starts with the string ``prefix``, in byte order of their keys."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; no error when there is none."""

    @abstractmethod
    def child(self, *parts: str) -> "Storage":
        """The place below this one."""

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
        except (ValueError, RecursionError) as error:  # the latter: nested without end
            raise UserError(f"{self.uri}/{key} is not valid JSON ({error})") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"
