"""Image files below an S3 prefix."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from dcvae.errors import UserError
from dcvae.sharding.sources.files import MAX_FILE_BYTES, FileSource, too_large
from dcvae.sharding.sources.hints import Hints
from dcvae.sharding.sources.kinds import HEAD, by_bytes, by_suffix, is_junk, kind_of
from dcvae.sharding.sources.listing import File
from dcvae.shards.encodings import BadImage
from dcvae.storage import NotFound, ObjectInfo, open_storage
from dcvae.storage.uri import check_key

_AT_ONCE = 16  # parallel reads of objects whose names do not tell their format


class Bucket(FileSource):
    """Images below a prefix, or in any other storage."""

    def __init__(self, uri: str, hints: Hints) -> None:
        super().__init__(uri, PurePosixPath(uri).name or "images", hints)
        self._storage = open_storage(uri)

    def find(self) -> Iterator[File]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = self._storage.list()
            while infos := list(islice(found, 64 * _AT_ONCE)):
                yield from pool.map(self._file, infos)

    def read(self, reference: Any) -> bytes:
        try:
            if isinstance(reference, str):  # a file of labels
                return self._storage.read(reference, 0, MAX_FILE_BYTES + 1)
            return self._storage.read_listed(ObjectInfo(*reference))
        except NotFound:
            raise BadImage("gone") from None

    def _file(self, info: ObjectInfo) -> File:
        parts = PurePosixPath(info.key).parts
        if any(is_junk(part) for part in parts):
            return File(info.key, ignored="system files")
        if any(part.startswith(".") and part not in (".", "..") for part in parts):
            return File(info.key, ignored="hidden")
        picture = by_suffix(info.key)
        try:
            check_key(info.key)
        except UserError:
            if picture is False:
                return File(info.key, ignored=kind_of(info.key))
            return File(info.key, bad=f"{self._storage.uri}/{info.key} is no path")
        if picture is None:
            picture = info.size > 0 and by_bytes(self._storage.read(info.key, 0, HEAD))
        if not picture:
            return File(info.key, ignored=kind_of(info.key))
        stamp = f"{info.size}-{info.etag}"
        listed = [info.key, info.size, info.etag]
        return File(info.key, stamp, info.size, listed, too_large(info.size))
