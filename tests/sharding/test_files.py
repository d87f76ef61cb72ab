"""Image files in folders, zips and buckets: what their places mean, and what is no image."""

import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.sharding.sources import open_source
from dcvae.shards.encodings import BadImage
from dcvae.shards.inspection import table
from dcvae.storage import join, open_storage
from dcvae.storage.s3_stream import S3Stream
from dcvae.streaming.stream import read_split
from tests.sharding.folders import names, paint


def test_a_flat_folder_holds_out_a_tenth_by_name(tmp_path: Path) -> None:
    for n in range(200):
        paint(tmp_path / f"{n}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    source = open_source(str(tmp_path))
    train, test = set(names(source, "train")), set(names(source, "test"))
    assert (len(train), len(test)) == (180, 20)
    assert not train & test
    assert source.classes is None
    for n in range(200, 230):
        paint(tmp_path / f"{n}.png")
    assert len(test - set(names(open_source(str(tmp_path)), "test"))) <= 6  # hardly moves
    assert len(names(open_source(str(tmp_path), test=7), "test")) == 7


def test_what_is_wrong_in_a_folder_is_told_of_that_file(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    paint(folder / "good.png")
    paint(tmp_path / "outside.png")
    (folder / "link_out.png").symlink_to(tmp_path / "outside.png")
    (folder / "link_in.png").symlink_to(folder / "good.png")
    (folder / "broken.png").symlink_to(folder / "none.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.png")
    source = open_source(str(folder), test=1)
    bad = {i.name: i.bad for split in source.splits for i in source.items(split) if i.bad}
    assert set(bad) == {"link_out.png", "broken.png", "loop.png", "pipe.png"}
    assert bad["link_out.png"] == "a link to outside the folder"
    assert bad["pipe.png"] == "no plain file"


def test_what_is_wrong_in_a_zip_is_told_of_that_entry(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    body = (tmp_path / "a.png").read_bytes()
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("good.png", "also.png", "../../etc/x.png", "/abs.png", "in/../y.png"):
            archive.writestr(name, body)
        archive.writestr("__MACOSX/._good.png", b"")
        archive.writestr("read.me", b"")
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("crc.png", body)
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(body) + len(body) // 2] ^= 1
    path.write_bytes(raw)
    source = open_source(str(path), test=1)
    items = {i.name: i for split in source.splits for i in source.items(split)}
    bad = {name for name, item in items.items() if item.bad}
    assert bad == {"../../etc/x.png", "/abs.png", "in/../y.png", "link.png"}
    with pytest.raises(BadImage, match="damaged in the zip"):
        source.load(items["crc.png"])
    assert source.load(items["good.png"]) == body
    assert set(items) - bad == {"good.png", "also.png", "crc.png"}


def test_pictures_are_known_by_their_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    paint(folder / "good.png")
    picture = Image.new("RGB", (12, 12), (0, 200, 0))
    for name, kind in (
        ("a.avif", "AVIF"), ("b.jpe", "JPEG"), ("c.jp2", "JPEG2000"), ("d.tga", "TGA"),
        ("none", "PNG"), ("odd.suffix", "WEBP"), ("e.qoi", "QOI"), ("img.0001", "PPM"),
    ):  # fmt: skip
        picture.save(folder / name, kind)
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (folder / "page.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    (folder / "notes.txt").write_text("P3 is how a PPM begins")
    (folder / "README").write_text("P3rhaps")
    (folder / ".hidden.png").write_bytes(b"")
    for junk in (".DS_Store", "Thumbs.db", "._good.png"):
        (folder / junk).write_bytes(b"x")
    manifest = shard(str(folder), str(tmp_path / "set"), resolution=4, test=1)
    assert manifest.samples("train") + manifest.samples("test") == 9
    assert manifest.skipped == []
    assert {i.kind: i.files for i in manifest.ignored} == {
        ".heic": 1, ".eps": 1, ".txt": 1, "no suffix": 1, "hidden": 1,
    }  # fmt: skip
    assert "5 other files were left out:" in table(manifest)


def test_pictures_in_a_bucket_are_known_by_their_bytes(tmp_path: Path, s3_uri: str) -> None:
    storage = open_storage(s3_uri)
    paint(tmp_path / "a.png")
    for key in ("a.png", "none", "x/b.data"):
        storage.write(key, tmp_path / "a.png")
    storage.write("notes", b"text")
    storage.write("empty", b"")
    source = open_source(s3_uri, test=0, classes="none")
    assert names(source, "train") == ["a.png", "none", "x/b.data"]
    assert [(i[0], i[1]) for i in source.ignored] == [("no suffix", 2)]


def test_class_folders_that_are_links(tmp_path: Path) -> None:
    for n in range(6):
        paint(tmp_path / "full" / "cat" / f"{n}.png", n)
        paint(tmp_path / "x" / "dog" / f"{n}.png", 10 + n)
    (tmp_path / "x" / "cat").symlink_to(tmp_path / "full" / "cat")
    with pytest.raises(UserError, match=r"x/cat is a link to the folder .*full/cat: say --follow"):
        shard(str(tmp_path / "x"), str(tmp_path / "set"), resolution=4)
    (tmp_path / "x" / "dog" / "up").symlink_to(tmp_path)
    (tmp_path / "x" / "dog" / "again").symlink_to(tmp_path / "x" / "dog")
    (tmp_path / "x" / "dog" / "up").unlink()
    source = open_source(str(tmp_path / "x"), follow_links=True, test=0)
    assert source.classes == ["cat", "dog"]
    assert len(names(source, "train")) == 12
    assert [(i[0], i[1]) for i in source.ignored] == [("links to folders within", 1)]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    paint(tmp_path / "x" / "a" / "1.png")
    paint(tmp_path / "x" / "b" / "2.png")
    paint(tmp_path / "out" / "3.png")
    (tmp_path / "x" / "b" / "up").symlink_to(tmp_path / "out")
    (tmp_path / "out" / "back").symlink_to(tmp_path / "x")
    (tmp_path / "out" / "self").symlink_to(tmp_path / "out")
    source = open_source(str(tmp_path / "x"), follow_links=True, test=0)
    assert names(source, "train") == ["a/1.png", "b/2.png", "b/up/3.png"]


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder with 1,200 folders inside each other, deeper than Python's stack."""
    folder = tmp_path / "deep"
    folder.mkdir()
    inner = os.open(folder, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=inner)
        outer, inner = inner, os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)  # shutil.rmtree cannot


def test_deep_folders_and_names_that_are_no_utf8(tmp_path: Path, deep: Path) -> None:
    paint(deep / "a.png", 3)
    (deep / "a.png").rename(deep / b"\xff\xe4.png".decode(errors="surrogateescape"))
    paint(deep / "b.png", 5)
    manifest = shard(str(deep), str(tmp_path / "set"), resolution=4, test=0)
    (batch,) = read_split(open_storage(str(tmp_path / "set")), manifest, "train", 4, 9)
    assert sorted(batch.images[:, 0, 0, 0].tolist()) == [3, 5]
    index = (tmp_path / "set/train/index/shard-000000.json").read_text()
    assert r"\\xff\\xe4.png" in index


def test_a_zip_on_s3_is_read_in_its_order(
    tmp_path: Path, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its entries lie: a few requests, not one for each image."""
    chance = np.random.default_rng(0)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in chance.permutation(300).tolist():
            paint(tmp_path / "a.png", n)
            archive.writestr(f"{n:04d}.png", (tmp_path / "a.png").read_bytes() + bytes(30_000))
    storage = open_storage(s3_uri)
    storage.write("x.zip", path)
    asked = []
    reconnect = S3Stream._reconnect
    monkeypatch.setattr(
        S3Stream, "_reconnect", lambda self, n: asked.append(n) or reconnect(self, n)
    )
    far = shard(join(s3_uri, "x.zip"), str(tmp_path / "far"), resolution=8, samples_per_shard=16)
    assert len(asked) <= 15
    near = shard(str(path), str(tmp_path / "near"), resolution=8, samples_per_shard=16)
    assert far.splits == near.splits
