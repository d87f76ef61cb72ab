"""A source that has grown, and a sharding shared by several tasks."""

import os
from pathlib import Path

import pytest
from PIL import Image

from dcvae.errors import UserError
from dcvae.sharding.shard import shard, shard_part
from dcvae.shards.manifest import load_manifest
from dcvae.storage import open_storage
from dcvae.storage.base import Storage
from dcvae.streaming.stream import read_split
from tests.painted import OPTIONS, Painted


def pixels(storage: Storage, resolution: int = 8) -> set[tuple[str, int]]:
    """(split, colour) of every sample of the current version."""
    manifest = load_manifest(storage)
    return {
        (split, int(image[0, 0, 0]))
        for split in manifest.splits
        for batch in read_split(storage, manifest, split, resolution, 50)
        for image in batch.images
    }


def paint(folder: Path, numbers: range) -> None:
    folder.mkdir(exist_ok=True)
    for n in numbers:
        Image.new("RGB", (9, 9), (n, 0, 0)).save(folder / f"{(n * 37) % 251:03d}.png")


def test_new_images_become_a_new_version_that_keeps_the_old_shards(
    uri: str, tmp_path: Path
) -> None:
    folder, storage = tmp_path / "images", open_storage(uri)
    paint(folder, range(50))
    first = shard(str(folder), uri, **OPTIONS)
    before = {i.key: i.etag for i in storage.list() if i.key != "manifest.json"}
    paint(folder, range(50, 80))
    second = shard(str(folder), uri, **OPTIONS)

    assert second.grown_from == first.fingerprint != second.fingerprint
    assert load_manifest(storage) == second
    assert load_manifest(storage, first.fingerprint) == first
    assert before.items() <= {i.key: i.etag for i in storage.list()}.items()
    old, new = first.shards("train", 8), second.shards("train", 8)
    assert new[: len(old)] == old
    assert second.samples("train") + second.samples("test") == 80
    assert {n for _, n in pixels(storage)} == set(range(80))
    assert shard(str(folder), uri, **OPTIONS) == second

    paint(folder, range(80, 90))
    third = shard(str(folder), uri, **OPTIONS, workers=1 if uri.startswith("s3:") else 2)
    assert third.grown_from == second.fingerprint
    assert {n for _, n in pixels(storage, 4)} == set(range(90))


def test_a_copied_folder_is_the_same_and_a_changed_one_is_not(tmp_path: Path) -> None:
    folder, place = tmp_path / "images", str(tmp_path / "set")
    paint(folder, range(30))
    first = shard(str(folder), place, **OPTIONS)
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    assert shard(str(folder), place, **OPTIONS) == first
    Image.new("RGB", (9, 9), (255, 0, 0)).save(folder / "000.png")
    with pytest.raises(UserError, match=r"of other images \(000\.png has changed\)"):
        shard(str(folder), place, **OPTIONS)
    (folder / "000.png").unlink()
    with pytest.raises(UserError, match="1 of its images are gone"):
        shard(str(folder), place, **OPTIONS)


def test_a_mended_image_comes_with_the_next_version(tmp_path: Path) -> None:
    folder, place = tmp_path / "images", str(tmp_path / "set")
    paint(folder, range(30))
    (folder / "999.png").write_bytes(b"bad")
    (folder / "998.png").write_bytes(b"bad")
    first = shard(str(folder), place, **OPTIONS, max_bad_fraction=0.5)
    assert len(first.skipped) == 2
    Image.new("RGB", (9, 9), (200, 0, 0)).save(folder / "999.png")
    second = shard(str(folder), place, **OPTIONS, max_bad_fraction=0.5)
    assert {n for _, n in pixels(open_storage(place))} == {*range(30), 200}
    assert second.samples("train") + second.samples("test") == 31


def test_new_classes_only_at_the_end(tmp_path: Path) -> None:
    for name in ("b", "c"):
        paint(_made(tmp_path / "images" / name), range(10))
    place = str(tmp_path / "set")
    first = shard(str(tmp_path / "images"), place, **OPTIONS)
    paint(_made(tmp_path / "images" / "d"), range(10, 20))
    second = shard(str(tmp_path / "images"), place, **OPTIONS)
    assert (first.classes, second.classes) == (["b", "c"], ["b", "c", "d"])
    paint(_made(tmp_path / "images" / "a"), range(20, 30))
    with pytest.raises(UserError, match="its classes are"):
        shard(str(tmp_path / "images"), place, **OPTIONS)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("parts", [1, 3, 20])
def test_parts_make_the_same_set_as_one_piece(tmp_path: Path, parts: int) -> None:
    whole, shared = str(tmp_path / "whole"), str(tmp_path / "shared")
    expected = shard(Painted(100), whole, **OPTIONS)
    assert sum(shard_part(n, parts, Painted(100), shared, **OPTIONS) for n in range(parts)) == 120
    with pytest.raises(UserError, match="no complete shard set"):
        load_manifest(open_storage(shared))
    made = list(open_storage(shared).list("train/"))
    manifest = shard(Painted(100), shared, **OPTIONS)
    assert manifest.splits == expected.splits
    assert list(open_storage(shared).list("train/")) == made  # nothing was made again
    assert shard_part(0, parts, Painted(100), shared, **OPTIONS) == 0


def test_parts_of_a_grown_source(tmp_path: Path) -> None:
    place = str(tmp_path / "set")
    shard(Painted(40), place, **OPTIONS)
    for n in range(2):
        shard_part(n, 2, Painted(90), place, **OPTIONS)
    manifest = shard(Painted(90), place, **OPTIONS)
    assert manifest.samples("train") == 90


def test_there_is_no_part_beyond_the_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no part 3 of 3"):
        shard_part(3, 3, Painted(10), str(tmp_path / "set"), **OPTIONS)
