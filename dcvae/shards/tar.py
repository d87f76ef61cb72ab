"""Shards as tar files: a writer that gives equal bytes for equal input, and a strict reader.

A shard is a standard WebDataset tar: ``<key>.<npy|jpg|png>`` and, for labelled images,
``<key>.cls`` right after it. The reader accepts exactly what the writer writes and refuses
everything else: nothing else is ever decoded, and nothing is executed.
"""

import re
import tarfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_BLOCK = 512
_KEY = re.compile(rb"[0-9]{1,20}")
_LABEL = re.compile(rb"[0-9]{1,9}")
_TYPE_AT, _MAGIC_AT = slice(156, 157), slice(257, 265)
_LINK_AT, _PREFIX_AT = slice(157, 257), slice(345, 500)
_EMPTY = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)
_TEMPLATE = _EMPTY[:148] + b" " * 8 + _EMPTY[156:]  # the checksum field counts as spaces


class BadShard(Exception):  # noqa: N818
    """The bytes are not a shard as this program writes them; the message says where."""


@dataclass(frozen=True)
class Members:
    """Where the members of a shard are in its bytes.

    ``starts`` and ``sizes``: int64 [samples], of the image members. ``labels``: int64 [samples],
    or None if the shard has none.
    """

    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None


class ShardWriter:
    """Builds one tar in memory, with the bytes that tarfile would write in its USTAR format."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._size = 0

    def add(self, key: str, encoding: str, body: bytes, label: int | None) -> None:
        """Append a sample."""
        self._member(f"{key}.{encoding}", body)
        if label is not None:
            self._member(f"{key}.cls", str(label).encode())

    def finish(self) -> bytes:
        """The whole tar."""
        end = 2 * _BLOCK
        return b"".join([*self._blocks, bytes(end + -(self._size + end) % tarfile.RECORDSIZE)])

    def _member(self, name: str, body: bytes) -> None:
        padding = -len(body) % _BLOCK
        self._blocks += [_header_of(name, len(body)), body, bytes(padding)]
        self._size += _BLOCK + len(body) + padding


def _header_of(name: str, size: int) -> bytes:
    """A USTAR header: regular file, mode 0644, owner 0, time 0; 20 times as fast as tarfile's."""
    block = bytearray(_TEMPLATE)
    block[: len(name)] = name.encode("ascii")
    block[124:135] = b"%011o" % size
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def find_members(tar: bytes, encoding: str) -> Members:
    """Find the members of a shard.

    Raises:
        BadShard: anything that :class:`ShardWriter` would not have written.
    """
    view, suffix = memoryview(tar), f".{encoding}".encode()
    starts: list[int] = []
    sizes: list[int] = []
    labels: list[int] = []
    key, offset = b"", 0
    while True:
        name, size = _header(tar, offset)
        if not name:
            break
        start = offset + _BLOCK
        offset = start + (size + _BLOCK - 1) // _BLOCK * _BLOCK
        if offset > len(tar):
            raise BadShard(f"the member {_shown(name)} is cut off")
        if name.endswith(suffix) and _KEY.fullmatch(stem := name[: -len(suffix)]) and stem != key:
            key = stem
            starts.append(start)
            sizes.append(size)
        elif name == key + b".cls" and key and len(labels) == len(starts) - 1:
            labels.append(_label(bytes(view[start : start + size]), name))
        else:
            raise BadShard(f"the member {_shown(name)} is not expected here")
    if tar.count(0, offset) != len(tar) - offset:
        raise BadShard(f"there is something after the end of the archive at byte {offset}")
    if labels and len(labels) != len(starts):
        raise BadShard("some samples have a label and some have none")
    as_array = [np.array(values, np.int64) for values in (starts, sizes, labels)]
    return Members(as_array[0], as_array[1], as_array[2] if labels else None)


def _header(tar: bytes, offset: int) -> tuple[bytes, int]:
    """(name, size) of the member whose header is at ``offset``; ("", 0) at the archive's end."""
    block = tar[offset : offset + _BLOCK]
    if len(block) < _BLOCK:
        raise BadShard(f"the archive is cut off at byte {offset}")
    if block[0] == 0:
        if block.count(0) != _BLOCK:
            raise BadShard(f"no header at byte {offset}")
        return b"", 0
    name, _, rest = block[:100].partition(b"\0")
    plain = (
        block[_MAGIC_AT] == b"ustar\x0000"
        and block[_TYPE_AT] == b"0"
        and not block[_LINK_AT].strip(b"\0")
        and not block[_PREFIX_AT].strip(b"\0")
        and not rest.strip(b"\0")
    )
    digits = block[124:135]
    if not plain or block[135] != 0 or not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise BadShard(f"the member {_shown(name)} at byte {offset} is no plain file")
    return name, int(digits, 8)


def _label(body: bytes, name: bytes) -> int:
    if not _LABEL.fullmatch(body):
        raise BadShard(f"the label {_shown(name)} is no number")
    return int(body)


def _shown(name: bytes) -> str:
    return ascii(name.decode("latin-1")[:60])
