"""LSUN, from its LMDB databases."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dcvae.errors import UserError
from dcvae.sharding.sources.base import Item, Loaded, Source
from dcvae.sharding.sources.local import is_folder, size_of
from dcvae.shards.encodings import BadImage

_FILES = {"train": "train", "test": "val"}
_MAGIC = 0xBEEFC0DE
_META = struct.Struct("<16xII8x8xI44x48xQQ")  # magic, version, page size, last page, transaction


class Lsun(Source):
    """One category of LSUN from its LMDB folders; the published validation images are "test".

    Raises:
        UserError: a database is missing, cut off, or invalid.
    """

    def __init__(self, uri: str, root: Path, category: str) -> None:
        self.uri, self._root, self._category = uri, root, Path(category).name
        self.name = f"lsun_{self._category}"
        self._opened: dict[str, Any] = {}
        missing = [str(path) for path in map(self._path, self.splits) if not is_folder(path)]
        if missing:
            raise UserError(f"{uri} is not there: unpack LSUN's LMDB folder to {missing[0]}")
        for split in self.splits:
            check_whole(self._path(split) / "data.mdb")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": {}}

    def items(self, split: str) -> Iterator[Item]:
        import lmdb

        try:
            with self._open(split).begin(buffers=False) as transaction:
                for key in transaction.cursor().iternext(values=False):
                    text = key.decode("ascii")
                    yield Item(f"{split}-{text}", "published", None, [split, text])
        except (lmdb.Error, UnicodeDecodeError) as error:
            raise UserError(f"{self._path(split)} is damaged ({error}): unpack it again") from error

    def load(self, item: Item) -> Loaded:
        import lmdb

        split, key = item.reference
        try:
            with self._open(split).begin(buffers=False) as transaction:
                body = transaction.get(key.encode())
        except lmdb.Error as error:
            raise BadImage(f"damaged in the database ({error})") from error
        if body is None:
            raise BadImage("gone")
        return bytes(body)

    def _path(self, split: str) -> Path:
        return self._root / f"{self._category}_{_FILES[split]}_lmdb"

    def _open(self, split: str) -> Any:
        if split not in self._opened:
            import lmdb

            try:
                self._opened[split] = lmdb.open(
                    str(self._path(split)), readonly=True, lock=False, readahead=False
                )
            except lmdb.Error as error:
                raise UserError(f"{self._path(split)} cannot be opened: {error}") from error
        return self._opened[split]


def check_whole(file: Path) -> None:
    """Compare a database's size with its header, because reading a mapped file beyond its end would
    kill the process silently.

    Raises:
        UserError: it is cut off, or not a database.
    """
    size = size_of(file)
    with file.open("rb") as stream:
        first = stream.read(_META.size)
        if len(first) < _META.size:
            raise UserError(f"{file} is no LMDB database: unpack it again")
        page = _META.unpack(first)[2]
        stream.seek(page if 512 <= page <= 65536 else 0)
        second = stream.read(_META.size)
    metas = [_META.unpack(head) for head in (first, second) if len(head) == _META.size]
    metas = [meta for meta in metas if meta[0] == _MAGIC]
    if not metas or not 512 <= page <= 65536:
        raise UserError(f"{file} is no LMDB database: unpack it again")
    needed = (max(metas, key=lambda meta: meta[4])[3] + 1) * page
    if size < needed:
        raise UserError(f"{file} is cut off: it has {size:,} of {needed:,} bytes; get it again")
