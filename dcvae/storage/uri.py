"""URIs of storages, and the keys below them."""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from dcvae.errors import UserError

_HALF_A_SCHEME = re.compile(r"(s3a?|gs|gcs|abfs|az|hdfs|https?|ftp|file):(.*)", re.IGNORECASE)


def split_uri(uri: str) -> tuple[str, str, str]:
    """Split a URI into (scheme, host, path).

    ``s3://bucket/a/b`` → ("s3", "bucket", "a/b"); ``file:///a`` and ``a`` → ("file", "", "/…/a").

    Raises:
        UserError: it names no place: empty, no bucket, a ``file://`` URI with a host.
    """
    if not uri.strip():
        raise UserError("an empty URI names no place: give s3://bucket/prefix or a folder")
    if "\0" in unquote(uri):
        raise UserError(f"{uri!r} names no place: no path has a NUL in it")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        if found := _HALF_A_SCHEME.match(uri):
            local, rest = found[1].lower() == "file", found[2].lstrip("/")
            raise UserError(
                f"{uri} is neither a folder nor a URI: write {found[1]}://{'/' * local}{rest}, "
                f"or ./{uri} for a local folder of that name"
            )
        try:
            return "file", "", str(Path(uri).expanduser().absolute())
        except RuntimeError as error:  # ~nobody, or no HOME
            raise UserError(f"{uri} names no folder: {error}") from None
    if scheme == "file":
        if not rest.startswith("/"):
            raise UserError(f"{uri} is not a file URI: write file:///absolute/path")
        return "file", "", unquote(rest)
    host, _, path = rest.partition("/")
    if not host:
        raise UserError(f"{uri} names no bucket: write {scheme}://bucket/prefix")
    return scheme, host, check_key(path.strip("/")) if path.strip("/") else ""


def join(uri: str, *parts: str) -> str:
    """``uri`` with ``parts`` below it, separated by single slashes."""
    return "/".join([uri.rstrip("/") or "/", *(part.strip("/") for part in parts if part)])


def check_key(key: str) -> str:
    """Return ``key`` if it is a relative POSIX path that stays below its root.

    Raises:
        UserError: it is empty, absolute, or has empty, ``.`` or ``..`` components or NUL.
    """
    parts = key.split("/")
    if PurePosixPath(key).is_absolute() or "\0" in key or any(p in ("", ".", "..") for p in parts):
        raise UserError(f"{key!r} is no valid object key: keys are relative and have no '..'")
    return key
