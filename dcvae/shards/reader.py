"""Reads a shard: fetched whole, checked against the manifest, and only then parsed."""

import hashlib
import time
from typing import Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided
from prometheus_client import Counter

from dcvae.errors import UserError
from dcvae.shards.encodings import BadImage, Pixels, decode_stored, npy_header
from dcvae.shards.manifest import Shard
from dcvae.shards.tar import BadShard, Members, find_members
from dcvae.storage import Storage

Integers = npt.NDArray[np.int64]

_ATTEMPTS = 4

SHARDS = Counter("dcvae_stream_shards", "Shards read.")
BYTES = Counter("dcvae_stream_bytes", "Bytes of shards read.", unit="bytes")
MISMATCHES = Counter("dcvae_stream_mismatches", "Shards that differed from the manifest.")


class Samples:
    """The samples of one shard, in memory.

    ``labels`` is int64 [samples] or None.
    """

    def __init__(self, body: bytes, shard: Shard, encoding: str, shape: tuple[int, int, int]):
        """Parse ``body``; ``shape`` is (R, R, C) of every image.

        Raises:
            BadShard: it is not exactly ``shard.samples`` images as this program stores them.
        """
        self._body, self._encoding, self._shape = body, encoding, shape
        self._members: Members = find_members(body, encoding)
        self.labels: Integers | None = self._members.labels
        found = len(self._members.starts)
        if found != shard.samples:
            raise BadShard(f"it has {found} samples where the manifest says {shard.samples}")
        self._raw = self._raw_view() if encoding == "npy" else None

    def gather(self, numbers: Integers, out: Pixels) -> None:
        """Decode the samples ``numbers`` into ``out``, uint8 [len(numbers), R, R, C].

        Raises:
            BadShard: a stored image is damaged.
        """
        if self._raw is not None:
            # Not np.take: it would first copy the whole shard, which is not contiguous.
            out.reshape(len(numbers), -1)[:] = self._raw[numbers]
            return
        view = memoryview(self._body)
        for number, image in zip(numbers, out, strict=True):
            start, size = int(self._members.starts[number]), int(self._members.sizes[number])
            try:
                decode_stored(bytes(view[start : start + size]), self._encoding, image)
            except BadImage as error:
                raise BadShard(f"sample {number} is {error}") from error

    def _raw_view(self) -> Pixels:
        """All images as uint8 [samples, R * R * C], after checking every .npy header."""
        header = np.frombuffer(npy_header(self._shape[0], self._shape[2]), np.uint8)
        length = int(np.prod(self._shape))
        starts, sizes = self._members.starts, self._members.sizes
        if (sizes != len(header) + length).any():
            raise BadShard(f"its images are not of shape {self._shape}")
        every = np.frombuffer(self._body, np.uint8)
        steps = np.diff(starts)
        if len(steps) and (steps != steps[0]).any():  # labels of very different lengths
            both = np.stack([every[s : s + len(header) + length] for s in starts])
        else:
            step = int(steps[0]) if len(steps) else 0
            both = as_strided(
                every[starts[0] :],
                shape=(len(starts), len(header) + length),
                strides=(step, 1),
                writeable=False,
            )
        if (both[:, : len(header)] != header).any():
            raise BadShard(f"its images are not of shape {self._shape}")
        return both[:, len(header) :]


class Kept(Protocol):
    """A nearby place that keeps shards, such as a cache."""

    def get(self, shard: Shard) -> bytes | None: ...

    def put(self, shard: Shard, body: bytes) -> None: ...

    def drop(self, shard: Shard) -> None: ...


def read_shard(
    storage: Storage,
    shard: Shard,
    encoding: str,
    shape: tuple[int, int, int],
    cache: Kept | None = None,
) -> Samples:
    """Fetch and parse one shard, from ``cache`` if it has the shard; else it is added there.

    Raises:
        UserError: names the shard; it is missing, or not what was written.
    """
    uri = f"{storage.uri}/{shard.key}"
    complaint = ""
    if cache and (body := cache.get(shard)) is not None:
        if not _mismatch(body, shard):
            return _parse(body, shard, encoding, shape, uri)
        cache.drop(shard)
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(0.2 * 2**attempt)
        body = storage.read(shard.key)
        SHARDS.inc()
        BYTES.inc(len(body))
        complaint = _mismatch(body, shard)
        if not complaint:
            if cache:
                cache.put(shard, body)
            return _parse(body, shard, encoding, shape, uri)
        MISMATCHES.inc()
    raise UserError(
        f"the shard {uri} is damaged: {complaint}; restore it or shard the source again"
    )


def _parse(
    body: bytes, shard: Shard, encoding: str, shape: tuple[int, int, int], uri: str
) -> Samples:
    try:
        return Samples(body, shard, encoding, shape)
    except BadShard as error:
        raise UserError(f"the shard {uri} cannot be used: {error}") from error


def _mismatch(body: bytes, shard: Shard) -> str:
    if len(body) != shard.bytes:
        return f"it has {len(body)} bytes where the manifest says {shard.bytes}"
    found = hashlib.sha256(body).hexdigest()
    if found != shard.sha256:
        return f"its sha256 is {found[:12]}… where the manifest says {shard.sha256[:12]}…"
    return ""
