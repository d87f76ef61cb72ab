"""Existing WebDataset tars as a source, against what the stock package reads from them."""

import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from dcvae.errors import UserError
from dcvae.sharding.shard import shard, shard_part
from dcvae.sharding.sources import open_source
from dcvae.storage import join, open_storage
from dcvae.storage.s3_stream import S3Stream
from dcvae.streaming.stream import read_split
from tests.sharding.test_growth import pixels

Members = Sequence[tuple[str, bytes]]


def picture(value: int, kind: str = "PNG", side: int = 9) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (value, 0, 0)).save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


def samples(numbers: range, **more: Any) -> Members:
    """PNGs with .cls labels n % 3."""
    return [
        member for n in numbers
        for member in ((f"{n:04d}.png", picture(n)), (f"{n:04d}.cls", b"%d" % (n % 3)))
    ]  # fmt: skip


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tars of ten samples, as the stock writer writes them."""
    (tmp_path / "x").mkdir()
    for n in range(3):
        with webdataset.TarWriter(str(tmp_path / "x" / f"set-{n:03d}.tar")) as writer:
            for m in range(10 * n, 10 * n + 10):
                writer.write({"__key__": f"{m:04d}", "png": picture(m), "cls": m % 3})
    return tmp_path / "x"


def found(uri: str, **options: Any) -> dict[int, str | None]:
    """Value of the pixels → name of the class."""
    source = open_source(uri, **{"test": 0, **options})
    found: dict[int, str | None] = {}
    for item in source.items("train"):
        assert not item.bad, item
        pixel = Image.open(io.BytesIO(source.load(item))).convert("RGB").getpixel((0, 0))
        names = source.classes
        found[pixel[0]] = None if item.label is None or names is None else names[item.label]
    return found


@pytest.mark.parametrize("how", ["folder", "braces", "s3 folder", "s3 braces", "files"])
def test_the_same_samples_as_the_stock_reader(
    tars: Path, how: str, request: pytest.FixtureRequest
) -> None:
    urls = sorted(str(path) for path in tars.iterdir())
    stock = webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8").to_tuple("png", "cls")
    expected = {int(image[0, 0, 0]): str(label) for image, label in stock}
    assert len(expected) == 30
    place = str(tars)
    if how.startswith("s3"):
        place = request.getfixturevalue("s3_uri")
        for path in tars.iterdir():
            open_storage(place).write(path.name, path)
    uri = {"folder": place, "braces": f"{place}/set-{{000..002}}.tar", "files": "::".join(urls)}
    assert found("webdataset:" + uri[how.split()[-1]]) == expected


def test_a_set_of_them_is_the_same_from_everywhere(
    tars: Path, tmp_path: Path, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in tars.iterdir():
        open_storage(s3_uri).write(f"x/{path.name}", path)
    options: Any = {"resolution": 8, "samples_per_shard": 8}
    near = shard(f"webdataset:{tars}", str(tmp_path / "near"), **options, workers=2)
    asked: list[int] = []
    connect = S3Stream._reconnect
    monkeypatch.setattr(S3Stream, "_reconnect", lambda s, n: asked.append(n) or connect(s, n))  # type: ignore[func-returns-value]
    uri = "webdataset:" + join(s3_uri, "x")
    for part in range(2):
        shard_part(part, 2, uri, str(tmp_path / "far"), **options)
    assert len(asked) <= 2 * 4 * 3  # a few for each tar, split and look; not one for each image
    far = shard(uri, str(tmp_path / "far"), **options)
    assert far.splits == near.splits
    assert near.classes == ["0", "1", "2"]
    assert (near.samples("train"), near.samples("test")) == (27, 3)
    (batch,) = read_split(open_storage(str(tmp_path / "far")), far, "train", 8, 99)
    assert batch.labels is not None
    assert batch.labels.tolist() == [n % 3 for n in batch.images[:, 0, 0, 0].tolist()]


def test_new_tars_are_growth(tars: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "set")
    options: Any = {"resolution": 8, "samples_per_shard": 8}
    first = shard(f"webdataset:{tars}", place, **options)
    assert shard(f"webdataset:{tars}", place, **options) == first
    write(tars / "set-003.tar", samples(range(30, 35)))
    second = shard(f"webdataset:{tars}", place, **options)
    assert second.grown_from == first.fingerprint
    assert {n for _, n in pixels(open_storage(place))} == set(range(35))
    os.utime(tars / "set-000.tar", (1, 1))
    assert shard(f"webdataset:{tars}", place, **options) == second


@pytest.mark.parametrize(
    ("members", "expected", "options"),
    [  # keys with dots
        ([(f"v1.{n}.png", picture(n)) for n in range(12)], dict.fromkeys(range(12)), {}),
        ([m for n in range(12) for m in ((f"v.{n}.png", picture(n)), (f"v.{n}.cls", b"%d" % n))],
         {n: str(n) for n in range(12)}, {}),
        # folders, suffixes in capitals and of several kinds
        ([("a/1.JPG", picture(0, "JPEG")), ("b/1.png", picture(9)), ("c.x/1.webp", picture(20))],
         dict.fromkeys((0, 9, 20)), {}),
        # one image and other members
        ([("1.png", picture(3)), ("1.cls", b"7"), ("1.txt", b"a cat"), ("1.npy", b"x")],
         {3: "7"}, {}),
        # labels in JSON, as numbers and names
        ([("1.png", picture(3)), ("1.json", b'{"label": "cat", "caption": "x"}')], {3: "cat"}, {}),
        ([("1.png", picture(3)), ("1.json", b'{"label": 4}')], {3: "4"}, {}),
        ([("1.png", picture(3)), ("1.json", b'{"caption": "x"}')], {3: None}, {}),
        ([("1.png", picture(3)), ("1.json", b'{"breed": "pug"}')], {3: "pug"},
         {"labels": "json.breed"}),
        ([("1.png", picture(3)), ("1.cls", b"cat\n"), ("1.json", b'{"label": 4}')], {3: "cat"}, {}),
        ([("1.json", b'{"label": 4}'), ("1.png", picture(3)), ("1.cls", b"1")], {3: "4"},
         {"labels": "json"}),
        # several images
        ([("1.png", picture(3)), ("1.seg.png", picture(4)), ("1.cls", b"7")], {4: "7"},
         {"image": "seg.png"}),
        ([("a.1.png", picture(3)), ("a.2.png", picture(4)), ("a.1.cls", b"7"), ("a.2.cls", b"8")],
         {3: "7", 4: "8"}, {"image": "png"}),
    ],
)  # fmt: skip
def test_members_and_keys(
    tmp_path: Path, members: Members, expected: dict[int, str | None], options: Any
) -> None:
    path = write(tmp_path / "x.tar", members)
    assert found(f"webdataset:{path}", **options) == expected


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (["train-000.tar", "train-001.tar", "val-000.tar"], {"train": 2, "test": 1}),
        (["x-train-0.tar", "x-validation-0.tar", "x-test-0.tar"],
         {"train": 1, "test": 1, "val": 1}),
        (["train/0.tar", "train/1.tar", "test/0.tar"], {"train": 2, "test": 1}),
        (["a-0.tar", "a-1.tar"], {"train": 2}),
    ],
)  # fmt: skip
def test_splits(tmp_path: Path, names: list[str], counts: dict[str, int]) -> None:
    for n, name in enumerate(names):
        write(tmp_path / name, samples(range(n, n + 1)))
    source = open_source(f"webdataset:{tmp_path}", test=0)
    assert {split: len(list(source.items(split))) for split in source.splits} == counts
    assert len(source.notes) == (len(counts) if len(counts) > 1 else 0)


def test_what_is_not_clear_is_asked(tmp_path: Path) -> None:
    write(tmp_path / "two.tar", [("1.jpg", picture(3)), ("1.seg.png", picture(4))])
    with pytest.raises(UserError, match=r"such as 1\.jpg, 1\.seg\.png: say which with --image jpg"):
        found(f"webdataset:{tmp_path / 'two.tar'}")
    write(tmp_path / "y" / "train-0.tar", samples(range(3)))
    write(tmp_path / "y" / "extra.tar", samples(range(3)))
    with pytest.raises(UserError, match=r"beside extra\.tar: say --splits folders"):
        found(f"webdataset:{tmp_path / 'y'}")
    assert len(list(open_source(f"webdataset:{tmp_path / 'y'}", splits="folders").items("train")))
    (tmp_path / "y" / "train-0.tar").rename(tmp_path / "y" / "test-0.tar")
    with pytest.raises(UserError, match="but nothing for training"):
        found(f"webdataset:{tmp_path / 'y'}")


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("pipe:cat x.tar", "runs a command"),
        ("", "names nothing"),
        ("https://host/x.tar", "cannot open https://host/x.tar"),
        ("{tmp}/none-{000..001}.tar", r"there is no .*none-000\.tar"),
        ("{tmp}/empty", r"has no files that end in \.tar"),
        ("{tmp}/text.tar", "is no plain tar, or damaged"),
        ("{tmp}/zero.tar", "is no plain tar, or damaged"),
        ("{tmp}/packed.tar", "unpack it if it is compressed"),
        ("{tmp}/labels.tar", "has no images"),
        ("{tmp}/json.tar", r"json\.tar: 1\.json is no label"),
    ],
)
def test_one_sentence_when_there_is_nothing(tmp_path: Path, uri: str, complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tar").write_text("<html>not found</html>")
    (tmp_path / "zero.tar").write_bytes(b"")
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("1.png"))
    write(tmp_path / "labels.tar", [("1.cls", b"1")])
    write(tmp_path / "json.tar", [("1.png", picture(1)), ("1.json", b"{")])
    with pytest.raises(UserError, match=complaint) as caught:
        shard("webdataset:" + uri.replace("{tmp}", str(tmp_path)), str(tmp_path / "set"),
              resolution=8)  # fmt: skip
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_damage_is_told_and_never_taken_for_the_end(tmp_path: Path) -> None:
    """Where the stock reader ends without a word."""
    body = write(tmp_path / "x.tar", samples(range(8))).read_bytes()
    path = tmp_path / "damaged.tar"
    chance = np.random.default_rng(0)
    end = body.rindex(b"0007.cls")
    headers = [n for n in range(0, end + 1, 512) if body[n + 257 : n + 262] == b"ustar"]
    for at in headers[1:]:
        zeroed = body[:at] + bytes(512) + body[at + 512 :]
        cut = body[: at + int(chance.integers(0, 512))]
        flipped = bytearray(body)
        flipped[at + int(chance.integers(0, 100))] ^= 1
        for damaged in (zeroed, cut, bytes(flipped)):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=r"damaged|cut off"):
                found(f"webdataset:{path}")


def test_hostile_members_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    mark = tmp_path / "executed"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("link.png", tarfile.SYMTYPE), ("hard.png", tarfile.LNKTYPE),
                           ("dev.png", tarfile.CHRTYPE)):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        code = f"cos\nsystem\n(S'touch {mark}'\ntR.".encode()
        for name, body in (
            ("1.png", picture(7)), ("1.pyd", code), ("1.pkl", code), ("1.pth", code),
            ("../../2.png", picture(8)), ("/abs.png", picture(9)), ("1.png", picture(7)),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    manifest = shard(f"webdataset:{path}", str(tmp_path / "set"), resolution=8, test=0,
                     max_bad_fraction=0.5)  # fmt: skip
    assert not mark.exists()
    assert manifest.samples("train") == 3
    assert [s.reason for s in manifest.skipped] == ["there twice"]
    assert {i.kind: i.files for i in manifest.ignored} == {
        "links and devices": 3, ".pyd": 1, ".pkl": 1, ".pth": 1,
    }  # fmt: skip
    outside = {p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "set")}
    assert outside == {path}


def test_samples_without_a_label_are_bad_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tar", [*samples(range(9)), ("9.png", picture(9))])
    with pytest.raises(UserError, match=r"1 of 10 images cannot be used.*9\.png \(no label\)"):
        shard(f"webdataset:{path}", str(tmp_path / "set"), resolution=8, test=0)
    bodies = json.dumps({"label": [1, 2]}).encode()
    path = write(tmp_path / "y.tar", [("1.png", picture(1)), ("1.json", bodies)])
    assert found(f"webdataset:{path}") == {1: None}
