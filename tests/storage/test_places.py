"""What a folder and a bucket have in common."""

import fcntl
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dcvae.errors import UserError
from dcvae.storage import Conflict, NotFound, join, open_storage


def test_bodies_come_back_whole_and_in_ranges(uri: str) -> None:
    storage = open_storage(uri)
    body = os.urandom(100_000)
    storage.write("a/b/c.bin", body)
    assert storage.read("a/b/c.bin") == body
    assert storage.read("a/b/c.bin", 99_990) == body[-10:]
    assert storage.read("a/b/c.bin", 5, 10) == body[5:15]
    assert storage.read("a/b/c.bin", 99_990, 100) == body[-10:]
    assert storage.read("a/b/c.bin", 100_000) == b""
    with storage.open("a/b/c.bin", 50_000) as stream:
        assert stream.read(10) == body[50_000:50_010]
        stream.seek(-7, os.SEEK_END)
        assert stream.read() == body[-7:]


def test_a_local_file_larger_than_one_part_goes_up(uri: str, tmp_path: Path) -> None:
    body = os.urandom(1 << 20) * 65
    (tmp_path / "large").write_bytes(body)
    storage = open_storage(uri)
    etag = storage.write("large", tmp_path / "large", if_absent=True)
    assert storage.read("large") == body
    found = storage.stat("large")
    assert found is not None
    assert (found.size, found.etag) == (len(body), etag)
    with pytest.raises(Conflict):
        storage.write("large", tmp_path / "large", if_absent=True)


def test_missing_keys(uri: str) -> None:
    storage = open_storage(uri)
    assert storage.stat("none") is None
    assert list(storage.list()) == []
    with pytest.raises(NotFound, match=r"there is no .*none"):
        storage.read("none")
    with pytest.raises(NotFound, match=r"there is no .*none"):
        storage.open("none")
    storage.delete("none")


def test_lists_are_in_byte_order_and_below_the_root(uri: str) -> None:
    keys = ["a-b", "a/b", "a.b", "a/b-c/d", "z", "ä", "A"]
    storage = open_storage(uri)
    for key in keys:
        storage.write(key, key.encode())
    open_storage(join(uri + "-other")).write("x", b"")
    assert [info.key for info in storage.list()] == sorted(keys, key=str.encode)
    assert [info.key for info in storage.list("a/")] == ["a/b", "a/b-c/d"]
    assert [info.key for info in storage.list("a/b-")] == ["a/b-c/d"]
    child = storage.child("a", "b-c")
    assert [info.key for info in child.list()] == ["d"]
    assert child.read("d") == storage.read("a/b-c/d") == b"a/b-c/d"
    assert child.uri == join(storage.uri, "a", "b-c")


@pytest.mark.parametrize("key", ["", "..", "../x", "a/../b", "/etc/x", "a//b", "./a", "a/", "a\0"])
def test_keys_that_leave_the_root_are_refused(uri: str, key: str) -> None:
    storage = open_storage(uri)
    for act in (storage.read, storage.stat, storage.delete, storage.open):
        with pytest.raises(UserError, match="no valid object key"):
            act(key)
    with pytest.raises(UserError, match="no valid object key"):
        storage.write(key, b"")


def test_conditional_writes(uri: str) -> None:
    storage = open_storage(uri)
    first = storage.write("k", b"1", if_absent=True)
    with pytest.raises(Conflict):
        storage.write("k", b"2", if_absent=True)
    second = storage.write("k", b"2", if_match=first)
    with pytest.raises(Conflict):
        storage.write("k", b"3", if_match=first)
    with pytest.raises(Conflict):
        storage.write("none", b"3", if_match=second)
    assert storage.read("k") == b"2"
    assert storage.stat("none") is None


def test_one_of_many_writers_wins(uri: str) -> None:
    storage = open_storage(uri)

    def put(number: int) -> bool:
        try:
            storage.write("race", str(number).encode(), if_absent=True)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(put, range(16)))
    assert won.count(True) == 1
    assert storage.read("race") == str(won.index(True)).encode()


def test_compare_and_swap_loses_no_update(uri: str) -> None:
    storage = open_storage(uri)
    storage.write("counter", b"0")

    def add_one(_: int) -> None:
        while True:
            before = storage.stat("counter")
            assert before is not None
            value = int(storage.read("counter"))
            try:
                storage.write("counter", str(value + 1).encode(), if_match=before.etag)
            except Conflict:
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_one, range(40)))
    assert storage.read("counter") == b"40"


def test_a_storage_travels_to_other_processes(uri: str) -> None:
    storage = pickle.loads(pickle.dumps(open_storage(uri)))  # noqa: S301
    storage.write("k", b"v")
    assert open_storage(uri).read("k") == b"v"


def test_text_and_json_name_the_object_they_cannot_read(uri: str) -> None:
    storage = open_storage(uri)
    storage.write("bad", b"\xff{")
    storage.write("cut.json", b'{"a": ')
    with pytest.raises(UserError, match="bad is not UTF-8"):
        storage.read_text("bad")
    with pytest.raises(UserError, match=r"cut\.json is not valid JSON"):
        storage.read_json("cut.json")


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("", "names no place"),
        ("s3://", "names no bucket"),
        ("s3:/bucket/x", r"neither a folder nor a URI: write s3://bucket/x, or \./s3:/bucket/x"),
        ("s3:bucket", "write s3://bucket, or"),
        ("S3:bucket", "write S3://bucket, or"),
        ("file:/tmp/x", "write file:///tmp/x, or"),
        ("https:x", "neither a folder nor a URI"),
        ("ftp://host/x", "scheme must be"),
        ("file://host/x", "not a file URI"),
        ("s3://bucket/a/../b", "no valid object key"),
    ],
)
def test_malformed_uris(uri: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        open_storage(uri)


def test_a_killed_write_leaves_nothing_to_see_and_nothing_for_long(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    left, written = (tmp_path / f".k.{digit * 16}.part" for digit in "01")
    left.write_bytes(b"half")
    written.write_bytes(b"half")
    assert list(storage.list()) == []
    with written.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # as its writer does, who lives
        storage.write("k", b"1")
    assert [info.key for info in storage.list()] == ["k"]
    assert not left.exists()
    assert written.exists()
