"""Sharding and streaming through a network that breaks a third of all answers."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.shards.manifest import load_manifest
from dcvae.storage import Conflict, open_storage
from dcvae.storage.embedded import EmbeddedS3
from dcvae.streaming.stream import Stream
from tests.painted import OPTIONS, Painted
from tests.storage.faults import KINDS, FaultyProxy, faulty_proxy, outage

RATE = 0.05  # of each kind
OUTAGE = float(os.environ.get("DCVAE_TEST_OUTAGE", "3"))  # seconds; 30 is what users are promised


@pytest.fixture
def proxy(s3: EmbeddedS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.endpoint, dict.fromkeys(KINDS, RATE)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        monkeypatch.setenv("DCVAE_STORAGE_TIMEOUT", "0.25")
        yield proxy


def batches(uri: str, count: int) -> list[torch.Tensor]:
    storage = open_storage(uri)
    stream = Stream(storage, load_manifest(storage), resolution=8, seed=4)
    try:
        return [batch.images for batch in islice(stream.batches(0, 20), count)]
    finally:
        stream.close()


def test_sharding_and_streaming_are_the_same_through_faults(
    s3_uri: str, proxy: FaultyProxy, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    expected = shard(Painted(100), str(tmp_path), **OPTIONS)
    manifest = shard(Painted(100), s3_uri, **OPTIONS)
    assert manifest.splits == expected.splits
    through_faults = batches(s3_uri, 30)
    assert all(proxy.counts[kind] for kind in KINDS), proxy.counts
    for a, b in zip(through_faults, batches(str(tmp_path), 30), strict=True):
        assert torch.equal(a, b)


def test_a_conditional_write_whose_answer_is_lost_counts_once(
    s3_uri: str, proxy: FaultyProxy
) -> None:
    proxy.rates = {"lose": 0.25}
    storage = open_storage(s3_uri)
    for n in range(8):
        body = b"%d" % n
        etag = storage.write(f"{n}", body, if_absent=True)
        with pytest.raises(Conflict):
            storage.write(f"{n}", b"other", if_absent=True)
        assert storage.write(f"{n}", body + b"!", if_match=etag) != etag
        assert storage.read(f"{n}") == body + b"!"


def test_streams_of_bytes_survive_faults(s3_uri: str, proxy: FaultyProxy) -> None:
    storage = open_storage(s3_uri)
    body = bytes(range(256)) * 20_000
    storage.write("large", body)
    proxy.rates = {"truncate": 0.3, "500": 0.2, "refuse": 0.1}
    with storage.open("large") as stream:
        assert stream.read() == body


def test_parts_of_a_large_object_survive_more_faults(
    s3_uri: str, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcvae.storage.s3.MULTIPART_FROM", 1 << 20)
    monkeypatch.setattr("dcvae.storage.multipart._PART", 5 << 20)  # the least that S3 takes
    monkeypatch.setenv("DCVAE_STORAGE_TIMEOUT", "5")
    body = os.urandom(45 << 20)
    (tmp_path / "large").write_bytes(body)
    proxy.rates = {"500": 0.15, "refuse": 0.15, "lose": 0.15}
    storage = open_storage(s3_uri)
    etag = storage.write("large", tmp_path / "large", if_absent=True)
    assert sum(proxy.counts[kind] for kind in proxy.rates) > 0
    proxy.rates = {}
    assert storage.read("large") == body
    assert etag.endswith("-9"), "in parts"


def test_an_outage_is_ridden_out(s3_uri: str, proxy: FaultyProxy) -> None:
    proxy.rates = {}
    shard(Painted(60), s3_uri, **OPTIONS)
    before = batches(s3_uri, 30)
    with outage(proxy, 0, OUTAGE):
        again = batches(s3_uri, 30)
    assert all(torch.equal(a, b) for a, b in zip(before, again, strict=True))


def test_a_lasting_outage_ends_with_the_shards_name(
    s3_uri: str, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.rates = {}
    manifest = shard(Painted(20), s3_uri, **OPTIONS)
    monkeypatch.setenv("DCVAE_STORAGE_PATIENCE", "1")
    stream = Stream(open_storage(s3_uri), manifest, resolution=8, seed=4)
    proxy.down.set()
    with pytest.raises(UserError, match=r"cannot read s3://.*/train/r8/shard-00000.\.tar"):
        next(stream.batches(0, 20))
    stream.close()
