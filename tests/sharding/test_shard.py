"""Sharding: deterministic, resumable, whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.shards.manifest import MANIFEST, load_manifest
from dcvae.storage import open_storage
from dcvae.storage.base import Storage
from dcvae.streaming.stream import read_split
from tests.painted import OPTIONS, Painted, shard_and_die, shard_quietly
from tests.processes import alive, below, child, fresh


def contents(storage: Storage) -> dict[str, bytes]:
    """All objects but what says the time."""
    return {
        info.key: storage.read(info.key)
        for info in storage.list()
        if info.key != MANIFEST and not info.key.startswith("versions/")
    }


def test_a_killed_sharding_goes_on_and_ends_the_same(uri: str, tmp_path: Path) -> None:
    whole = open_storage(str(tmp_path / "whole"))
    expected = shard(Painted(100), str(tmp_path / "whole"), **OPTIONS)
    storage = open_storage(uri)
    kept: dict[str, str] = {}
    for at in (20, 50, 99):
        process = child(shard_and_die, 100, at, uri)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert storage.stat(MANIFEST) is None
        with pytest.raises(UserError, match="holds no complete shard set"):
            load_manifest(storage)
        now = {info.key: info.etag for info in storage.list("train/")}
        assert kept.items() <= now.items()  # what was done is not done again
        kept = now
    assert len(kept) >= 6 * 2
    manifest = shard(Painted(100), uri, **OPTIONS)
    assert manifest.fingerprint == expected.fingerprint
    assert contents(storage) == contents(whole)
    assert storage.stat("unfinished.json") is None


def test_a_rerun_writes_nothing(uri: str) -> None:
    first = shard(Painted(50), uri, **OPTIONS)
    storage = open_storage(uri)
    before = list(storage.list())
    assert shard(Painted(50), uri, **OPTIONS) == first == load_manifest(storage)
    assert list(storage.list()) == before


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    shard(Painted(100), one, **OPTIONS)
    told: list[tuple[int, int | None]] = []
    shard(Painted(100), two, **OPTIONS, workers=2, progress=lambda d, t, _: told.append((d, t)))
    assert contents(open_storage(one)) == contents(open_storage(two))
    assert told[0] == (0, 120)
    assert told[-1] == (120, 120)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def race(uri: str, counts: list[int]) -> list[str]:
    results = fresh().Queue()
    processes = [child(shard_quietly, uri, results, n) for n in counts]
    answers = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return answers


def test_writers_of_the_same_images_end_with_one_set(s3_uri: str) -> None:
    answers = race(s3_uri, [60, 60, 60])
    manifest = load_manifest(open_storage(s3_uri))
    assert answers == [manifest.fingerprint] * 3
    assert (
        sum(len(b.images) for b in read_split(open_storage(s3_uri), manifest, "train", 8, 9)) == 60
    )


def test_one_of_two_writers_of_different_images_wins_whole(s3_uri: str) -> None:
    answers = race(s3_uri, [60, 75])
    storage = open_storage(s3_uri)
    manifest = load_manifest(storage)
    assert answers.count(manifest.fingerprint) == 1
    (told,) = (answer for answer in answers if answer != manifest.fingerprint)
    assert "unfinished set with source" in told or "of other images" in told
    for resolution in manifest.resolutions:
        seen = sum(len(b.images) for b in read_split(storage, manifest, "train", resolution, 50))
        assert seen == manifest.samples("train")


def save_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        Image.new("RGB", (10, 10), (n, 2 * n, 0)).save(folder / f"{n:03d}.png")


def test_bad_images_fail_the_set_and_mending_them_lets_it_go_on(tmp_path: Path) -> None:
    folder, place = tmp_path / "images", str(tmp_path / "set")
    save_images(folder, 40)
    (folder / "011.png").write_bytes(b"no image at all")
    (folder / "030.png").write_bytes((folder / "030.png").read_bytes()[:60])
    with pytest.raises(UserError, match=r"cannot be used, more than the allowed 1 %: 0..\.png"):
        shard(str(folder), place, **OPTIONS)
    assert not (tmp_path / "set" / MANIFEST).exists()
    save_images(folder, 40)
    manifest = shard(str(folder), place, **OPTIONS)
    assert manifest.skipped == []
    assert manifest.samples("train") + manifest.samples("test") == 40


def test_few_bad_images_are_listed_with_their_reason(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    save_images(folder, 40)
    (folder / "011.png").write_bytes(b"no image at all")
    (folder / "030.png").write_bytes(b"")
    manifest = shard(str(folder), str(tmp_path / "set"), **OPTIONS, max_bad_fraction=0.05)
    assert {(s.name, s.reason) for s in manifest.skipped} == {
        ("011.png", "not an image"),
        ("030.png", "empty file"),
    }
    assert manifest.samples("train") + manifest.samples("test") == 38


def test_another_set_is_not_overwritten(tmp_path: Path) -> None:
    place = str(tmp_path / "set")
    shard(Painted(40), place, **OPTIONS)
    before = contents(open_storage(place))
    with pytest.raises(UserError, match="with other settings"):
        shard(Painted(40), place, resolution=16, samples_per_shard=16)
    with pytest.raises(UserError, match=r"of other images \(3 of its images are gone"):
        shard(Painted(38), place, **OPTIONS)
    assert contents(open_storage(place)) == before


def test_a_lost_tar_is_made_again(tmp_path: Path) -> None:
    place = str(tmp_path / "set")
    expected = shard(Painted(40), place, **OPTIONS)
    storage = open_storage(place)
    storage.delete(MANIFEST)
    storage.delete("train/r4/shard-000001.tar")
    assert shard(Painted(40), place, **OPTIONS).fingerprint == expected.fingerprint
    assert storage.stat("train/r4/shard-000001.tar")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"resolution": 12}, "resolution is 12: it must be a power of two"),
        ({"resolution": 2048}, "resolution is 2048"),
        ({"resolution": 8, "min_resolution": 2}, "min_resolution is 2"),
        ({"resolution": 8, "min_resolution": 16}, "min_resolution 16 is above"),
        ({"resolution": 8, "channels": 2}, "channels is 2"),
        ({"resolution": 8, "samples_per_shard": 0}, "samples_per_shard is 0"),
    ],
)
def test_impossible_settings(tmp_path: Path, options: dict[str, int], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        shard(Painted(10), str(tmp_path / "set"), **options)  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


def test_a_missing_bucket_and_wrong_credentials(
    s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="there is no bucket no-such-bucket"):
        shard(Painted(10), "s3://no-such-bucket/set", **OPTIONS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match="refuses these credentials"):
        shard(Painted(10), s3_uri, **OPTIONS)
    monkeypatch.undo()
    assert list(open_storage(s3_uri).list()) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format_version": 3}, "format version 3.* install a newer dcvae"),
        ({"format_version": 99, "news": 1}, "format version 99"),
        ({"format_version": None}, "malformed manifest: format_version"),
        ({"resolutions": [8, 4]}, "resolutions are not ascending"),
        ({"fingerprint": "0" * 64}, "fingerprint does not belong"),
        ({"splits": {}}, "there is no split"),
        ({"unknown": 1}, "malformed manifest: unknown"),
    ],
)
def test_manifests_that_are_not_ours(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    shard(Painted(10), str(tmp_path), **OPTIONS)
    path = tmp_path / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=complaint):
        load_manifest(open_storage(str(tmp_path)))


def test_a_manifest_of_the_format_before_is_read(tmp_path: Path) -> None:
    made = shard(Painted(10), str(tmp_path), **OPTIONS)
    path = tmp_path / MANIFEST
    content = json.loads(path.read_text()) | {"format_version": 1}
    path.write_text(json.dumps({k: v for k, v in content.items() if k not in ("ignored", "notes")}))
    assert load_manifest(open_storage(str(tmp_path))).fingerprint == made.fingerprint
    assert shard(Painted(10), str(tmp_path), **OPTIONS).format_version == 1  # nothing to do
    assert shard(Painted(20), str(tmp_path), **OPTIONS).format_version == 2


def test_keys_in_a_manifest_stay_inside_the_set(tmp_path: Path) -> None:
    shard(Painted(10), str(tmp_path), **OPTIONS)
    path = tmp_path / MANIFEST
    path.write_text(path.read_text().replace("train/r4/", "../../r4/"))
    with pytest.raises(UserError, match="no valid object key"):
        load_manifest(open_storage(str(tmp_path)))


def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "from tests.painted import Slow, shard\n"
        "if __name__ == '__main__':\n"
        f"    shard(Slow(64), {str(tmp_path / 'set')!r}, resolution=8, samples_per_shard=8,"
        " workers=2)\n"
    )
    (tmp_path / "main.py").write_text(script)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["."])}
    with subprocess.Popen([sys.executable, tmp_path / "main.py"], env=environment) as parent:
        deadline = time.monotonic() + 60
        while len(workers := below(parent.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)  # until they have begun
        parent.kill()
    deadline = time.monotonic() + 40
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(workers) >= 2
    assert not [pid for pid in workers if alive(pid)]


def test_the_pyramid_is_the_mean_over_areas(photographs: Path, tmp_path: Path) -> None:
    manifest = shard(str(photographs), str(tmp_path / "set"), resolution=64)
    storage = open_storage(str(tmp_path / "set"))
    levels = {
        r: np.concatenate([b.images.numpy() for b in read_split(storage, manifest, "train", r, 9)])
        for r in manifest.resolutions
    }
    assert manifest.resolutions == [4, 8, 16, 32, 64]
    full = levels[64].astype(float)
    for r, level in levels.items():
        n = 64 // r
        mean = full.reshape(len(full), 3, r, n, r, n).mean((3, 5))
        assert np.abs(level - mean).max() <= 0.5
