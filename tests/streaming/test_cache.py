"""The local cache of shards: no second download, never too large, never trusted."""

import hashlib
import time
from itertools import islice
from pathlib import Path

import pytest

from dcvae.errors import UserError
from dcvae.presets import configure
from dcvae.shards.manifest import load_manifest
from dcvae.shards.reader import BYTES
from dcvae.storage import open_storage
from dcvae.streaming.cache import ShardCache
from dcvae.streaming.stream import Stream
from tests.conftest import ShardSet
from tests.processes import child

EPOCH = 20  # batches of 50


def streamed(place: str, cache: ShardCache | None, epochs: int = 1) -> str:
    """Hash of all batches."""
    storage = open_storage(place)
    stream = Stream(storage, load_manifest(storage), resolution=8, seed=3, cache=cache)
    digest = hashlib.sha256()
    for batch in islice(stream.batches(0, 50), epochs * EPOCH):
        digest.update(batch.images.numpy().tobytes())
    stream.close()
    return digest.hexdigest()


def stream_with_little_room(place: str, folder: str, limit: int) -> None:
    streamed(place, ShardCache(Path(folder), limit), epochs=3)


def size_of(folder: Path) -> int:
    total = 0
    for file in folder.iterdir():
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total


def test_a_second_epoch_reads_nothing_from_storage(painted: ShardSet, tmp_path: Path) -> None:
    place = painted.storage.uri
    first = streamed(place, ShardCache(tmp_path, 1 << 30))
    time.sleep(0.2)  # what was fetched ahead arrives
    before = BYTES._value.get()
    assert streamed(place, ShardCache(tmp_path, 1 << 30)) == first
    assert BYTES._value.get() == before
    assert first == streamed(place, None)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_fetched_again(painted: ShardSet, tmp_path: Path, damage: str) -> None:
    first = streamed(painted.storage.uri, ShardCache(tmp_path, 1 << 30))
    for file in tmp_path.glob("*.tar"):
        body = bytearray(file.read_bytes())
        body[1000] ^= 1
        file.write_bytes({"flip": body, "cut": body[:700], "empty": b""}[damage])
    assert streamed(painted.storage.uri, ShardCache(tmp_path, 1 << 30)) == first
    for file in tmp_path.glob("*.tar"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.stem


def test_processes_share_a_folder_that_stays_small(painted: ShardSet, tmp_path: Path) -> None:
    shards = painted.manifest.shards("train", 8)
    limit = 5 * shards[0].bytes
    arguments = (painted.storage.uri, str(tmp_path), limit)
    processes = [child(stream_with_little_room, *arguments) for _ in range(2)]
    largest, killed = 0, False
    while any(process.is_alive() for process in processes):
        largest = max(largest, size_of(tmp_path))
        if largest and not killed:
            processes[0].kill()
            killed = True
        time.sleep(0.005)
    assert [process.exitcode for process in processes] == [-9, 0]
    assert 0 < largest <= limit
    assert streamed(painted.storage.uri, ShardCache(tmp_path, limit)) == streamed(
        painted.storage.uri, None
    )


def test_what_was_used_last_stays(painted: ShardSet, tmp_path: Path) -> None:
    shards = painted.manifest.shards("train", 8)[:4]
    cache = ShardCache(tmp_path, 3 * shards[0].bytes)
    bodies = [painted.storage.read(shard.key) for shard in shards]
    for shard, body in zip(shards[:3], bodies[:3], strict=True):
        cache.put(shard, body)
    assert cache.get(shards[0]) == bodies[0]
    cache.put(shards[3], bodies[3])
    there = [cache.get(shard) is not None for shard in shards]
    assert there == [True, False, True, True]


def test_a_shard_larger_than_the_cache_is_not_kept(painted: ShardSet, tmp_path: Path) -> None:
    streamed(painted.storage.uri, ShardCache(tmp_path, 1000))
    assert not list(tmp_path.glob("*.tar"))


def test_an_impossible_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the cache folder .* cannot be used"):
        ShardCache(tmp_path / "file" / "cache", 1000)


def test_a_cache_makes_no_other_run() -> None:
    settings = ["data.cache_dir=/somewhere", "data.cache_bytes=1000", "data.workers=5"]
    assert configure("smoke", settings).digest() == configure("smoke").digest()
    assert configure("smoke", ["data.lanes=3"]).digest() != configure("smoke").digest()
