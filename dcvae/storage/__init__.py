"""One door to bytes: ``s3://bucket/prefix``, ``file:///path`` and plain paths."""

from pathlib import Path

from dcvae.errors import UserError
from dcvae.storage.base import Conflict, NotFound, ObjectInfo, Storage
from dcvae.storage.formats import read_versioned, timestamp, to_json
from dcvae.storage.uri import join, split_uri

__all__ = [
    "Conflict",
    "NotFound",
    "ObjectInfo",
    "Storage",
    "join",
    "open_storage",
    "read_versioned",
    "split_uri",
    "timestamp",
    "to_json",
]


def open_storage(uri: str) -> Storage:
    """Open the place that ``uri`` names.

    ``s3://bucket/prefix`` takes endpoint, region and credentials from the standard AWS variables
    and files (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, …). ``file:///path`` and plain paths
    are folders, created by the first write. Opening sends no request.

    Raises:
        UserError: the scheme is unknown or the URI malformed.
    """
    scheme, host, path = split_uri(uri)
    if scheme == "s3":
        from dcvae.storage.s3 import S3Storage  # botocore takes 0.3 s to import

        return S3Storage(host, path)
    if scheme == "file":
        from dcvae.storage.file import FileStorage

        return FileStorage(Path(path))
    raise UserError(f"cannot open {uri}: the scheme must be s3:// or file://")
