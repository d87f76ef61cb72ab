"""Answers that no server should give: each is tried again, refused in a sentence, or both."""

import hashlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcvae.environment import EMBEDDED_S3
from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.storage import open_storage
from dcvae.storage.base import ObjectInfo
from dcvae.storage.embedded import EmbeddedS3
from dcvae.storage.s3 import S3Storage
from tests.storage.faults import WRONG, FaultyProxy, faulty_proxy


@pytest.fixture
def proxy(s3: EmbeddedS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.endpoint, {}) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        yield proxy


@pytest.fixture
def pictures(tmp_path: Path, s3_uri: str) -> tuple[str, str]:
    """The same thirty images in a folder and in a bucket."""
    noise = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    bucket = open_storage(f"{s3_uri}/pictures")
    for n in range(30):
        file = tmp_path / "pictures" / f"{n}.png"
        Image.fromarray(noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
        bucket.write(file.name, file.read_bytes())
    return str(tmp_path / "pictures"), bucket.uri


def test_wrong_answers_of_status_200_make_no_image_bad(
    pictures: tuple[str, str], tmp_path: Path, proxy: FaultyProxy
) -> None:
    folder, bucket = pictures
    expected = shard(folder, str(tmp_path / "a"), resolution=8)
    proxy.rates = dict.fromkeys(WRONG, 0.15)
    found = shard(bucket, str(tmp_path / "b"), resolution=8)
    assert all(proxy.counts[kind] for kind in WRONG), proxy.counts
    assert found.skipped == []
    assert found.splits == expected.splits


def test_an_object_whose_etag_is_no_hash_is_read_whole(
    s3_uri: str, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of what went up in parts: its length is all that is known of it."""
    monkeypatch.setattr("dcvae.storage.s3.MULTIPART_FROM", 1 << 20)
    body = bytes(range(256)) * 5_000
    (tmp_path / "large").write_bytes(body)
    storage = open_storage(s3_uri)
    storage.write("large", tmp_path / "large")
    (listed,) = storage.list()
    assert listed.etag.endswith("-1"), "in parts"
    proxy.rates = {"other": 0.4}
    assert [storage.read_listed(listed) for _ in range(9)] == [body] * 9
    assert proxy.counts["other"]


def test_streams_and_writes_survive_wrong_answers(s3_uri: str, proxy: FaultyProxy) -> None:
    storage, body = open_storage(s3_uri), bytes(range(256)) * 8_000
    proxy.rates = {"page": 0.3}
    etag = storage.write("large", body, if_absent=True)
    assert etag == hashlib.md5(body, usedforsecurity=False).hexdigest()
    with storage.open("large") as stream:
        assert stream.read() == body
    assert [info.size for info in storage.list()] == [len(body)]
    assert storage.read("large", 10, 20) == body[10:30]


def test_an_object_replaced_since_it_was_listed_is_told(s3_uri: str) -> None:
    storage = open_storage(s3_uri)
    storage.write("k", b"1")
    (listed,) = storage.list()
    assert storage.read_listed(listed) == b"1"
    storage.write("k", b"2")
    with pytest.raises(UserError, match="replaced since it was listed"):
        storage.read_listed(listed)


@pytest.mark.parametrize("status", [501, 507])
def test_what_will_not_pass_is_not_waited_for(s3_uri: str, proxy: FaultyProxy, status: int) -> None:
    proxy.answer = (status, {}, b"")
    began = time.monotonic()
    with pytest.raises(UserError, match=f"answered {status}"):
        open_storage(s3_uri).read("k")
    assert time.monotonic() - began < 2
    assert proxy.counts["requests"] == 1


def test_a_refused_checksum_names_the_variable_that_helps(s3_uri: str, proxy: FaultyProxy) -> None:
    said = (
        b"<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality "
        b"that is not implemented: x-amz-checksum-crc32</Message></Error>"
    )
    proxy.answer = (501, {"Content-Type": "application/xml"}, said)
    with pytest.raises(UserError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_required"):
        open_storage(s3_uri).write("k", b"v")


def test_a_long_wait_is_told_once(
    s3_uri: str,
    proxy: FaultyProxy,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dcvae.storage.retry.TOLD_AFTER", 0.5)
    monkeypatch.setenv("DCVAE_STORAGE_PATIENCE", "1.5")
    storage = open_storage(s3_uri)
    storage.write("k", b"v")
    proxy.down.set()
    with caplog.at_level(logging.WARNING), pytest.raises(UserError, match="no sound answer"):
        storage.read("k")
    assert 1 <= len(caplog.messages) <= 3
    assert f"cannot read {s3_uri}/k for " in caplog.messages[0]
    assert "trying again for up to 2 s" in caplog.messages[0]


def test_a_full_disk_under_the_server_is_called_so(
    s3_uri: str, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.answer = (500, {}, b"<Error><Code>InternalError</Code><Message>x</Message></Error>")
    monkeypatch.setenv(EMBEDDED_S3, "/proc/self")
    monkeypatch.setenv("DCVAE_STORAGE_PATIENCE", "60")
    with pytest.raises(UserError, match="the disk under /proc/self is full; free some space"):
        open_storage(s3_uri).write("k", b"v")


def test_keys_that_are_no_paths_are_bad_images(
    pictures: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS keeps such keys; the server here does not, so they are put into its listing."""
    _, bucket = pictures
    keys = ["./c.png", "/e.png", "a//b.png"]
    found = [*(ObjectInfo(key, 10, "0" * 32) for key in keys), *open_storage(bucket).list()]
    monkeypatch.setattr(S3Storage, "list", lambda self, prefix="": iter(found))
    manifest = shard(bucket, str(tmp_path / "set"), resolution=8, max_bad_fraction=0.2)
    said = " ".join(each.reason for each in manifest.skipped)
    assert len(manifest.skipped) == 3
    assert all(f"{bucket}/{key} is no" in said for key in keys)
