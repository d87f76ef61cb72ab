"""Published sets as they really lie about: half unpacked, half downloaded, edited."""

import gzip
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import lmdb
import numpy as np
import pytest

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.sharding.sources import Source, open_source
from dcvae.sharding.sources.lsun import check_whole
from tests.sharding.folders import names, paint


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DCVAE_SOURCES", str(tmp_path))
    return tmp_path


def opened(uri: str) -> None:
    source: Source = open_source(uri)
    for split in source.splits:
        list(source.items(split))


def refused(uri: str) -> str:
    """The sentence that the source is refused with."""
    with pytest.raises(UserError) as caught:
        opened(uri)
    assert "\n" not in str(caught.value)
    return str(caught.value)


IMAGES = bytes([0, 0, 8, 3]) + struct.pack(">3I", 4, 2, 2) + bytes(16)
LABELS = bytes([0, 0, 8, 1]) + struct.pack(">I", 4) + bytes(4)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "is not an IDX file"),
        (IMAGES[:10], "is not an IDX file"),
        (IMAGES[:-3], "is cut off or too long"),
        (IMAGES + b"x", "is cut off or too long"),
        (b"<html>not found</html>", "is not an IDX file"),
        (IMAGES[:4] + b"\xff" * 12 + bytes(16), "is cut off or too long"),
        (gzip.compress(IMAGES, mtime=0)[:-12], "cannot be read"),
        (gzip.compress(IMAGES, mtime=0)[:30] + b"\xff" * 20, "cannot be read"),
        (b"\x1f\x8b nothing", "cannot be read"),
        (gzip.compress(IMAGES[:4] + b"\xff" * 12, mtime=0), "unzip it first"),
    ],
)
def test_idx_files(tmp_path: Path, body: bytes, complaint: str) -> None:
    suffix = ".gz" if body[:2] == b"\x1f\x8b" else ""
    (tmp_path / f"train-images-idx3-ubyte{suffix}").write_bytes(body)
    assert complaint in refused(f"idx:{tmp_path}")


def test_no_idx_folder(tmp_path: Path) -> None:
    assert "dataset-fashion-mnist" in refused(f"idx:{tmp_path / 'none'}")


def test_idx_labels_of_one_split_only(tmp_path: Path) -> None:
    for split in ("train", "t10k"):
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(IMAGES)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(LABELS)
    assert "labels for train but not for the other split: put t10k-labels" in refused(
        f"idx:{tmp_path}"
    )
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert open_source(f"idx:{tmp_path}").classes is None


@pytest.fixture
def stl10(place: Path) -> Path:
    folder = place / "stl10_binary"
    folder.mkdir()
    for file, count in (("train", 4), ("unlabeled", 5), ("test", 3)):
        np.zeros((count, 3, 96, 96), np.uint8).tofile(folder / f"{file}_X.bin")
        np.arange(1, count + 1, dtype=np.uint8).tofile(folder / f"{file}_y.bin")
    return folder


def test_stl10(stl10: Path) -> None:
    source = open_source("torchvision:STL10")
    assert source.notes[0] == "unlabeled_X.bin has 5 images where 100,000 are published"
    labels = stl10 / "test_y.bin"
    good = labels.read_bytes()
    labels.write_bytes(b"\0" + good[1:])
    assert "test_y.bin has the label 0: STL-10's go from 1 to 10" in refused("torchvision:STL10")
    labels.write_bytes(good[:2])
    assert "2 labels for 3 images" in refused("torchvision:STL10")
    labels.unlink()
    assert "there is no" in refused("torchvision:STL10")
    labels.write_bytes(good)
    images = stl10 / "unlabeled_X.bin"
    images.write_bytes(images.read_bytes()[:-100])
    assert "unlabeled_X.bin is cut off" in refused("torchvision:STL10")
    images.unlink()
    images.symlink_to(stl10 / "train_X.bin")
    (stl10 / "train_y.bin").unlink()
    assert "there is no" in refused("torchvision:STL10")


def test_cifar10_half_unpacked(place: Path) -> None:
    folder = place / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(b"half")
    assert "is not whole, or not as published: unpack" in refused("torchvision:CIFAR10")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("txt", "1.jpg 0\n2.jpg 1\n3.jpg 2\n"),
        ("txt", "\ufeff1.jpg 0\r\n2.jpg 1\r\n3.jpg 2\r\n"),
        ("txt", "1.jpg\t0\n2.jpg   1\n\n3.jpg\t 2"),
        ("txt", "1.jpg,0\n2.jpg, 1\n3.jpg,2\n"),
        ("csv", "image_id,partition\n1.jpg,0\n2.jpg,1\n3.jpg,2\n"),
    ],
)
def test_celebas_list_in_every_form(place: Path, name: str, text: str) -> None:
    folder = place / "celeba"
    for n in (1, 2, 3):
        paint(folder / "img_align_celeba" / f"{n}.jpg")
    (folder / f"list_eval_partition.{name}").write_text(text, encoding="utf-8", newline="")
    source = open_source("torchvision:CelebA")
    assert (names(source, "train"), names(source, "test")) == (["1.jpg"], ["3.jpg"])


def test_celebas_list_that_is_none(place: Path) -> None:
    paint(place / "celeba" / "img_align_celeba" / "1.jpg")
    path = place / "celeba" / "list_eval_partition.txt"
    for body, complaint in (
        (b"1.jpg 0\n2.jpg seven\n", "line 2: no image and its part"),
        (b"<html>\n", "line 1: no image and its part"),
        (b"\xff\xfe1\0", "cannot be read"),
    ):
        path.write_bytes(body)
        assert complaint in refused("torchvision:CelebA")


@pytest.fixture
def bedrooms(place: Path) -> Path:
    """LSUN's two databases; the larger one's file."""
    for split, count in (("train", 60), ("val", 2)):
        folder = str(place / f"bedroom_{split}_lmdb")
        with lmdb.open(folder, map_size=1 << 22) as database, database.begin(write=True) as write:
            for n in range(count):
                write.put(f"{n:040d}".encode(), bytes(3000 + n))
    return place / "bedroom_train_lmdb" / "data.mdb"


def test_lsun_databases(bedrooms: Path, tmp_path: Path) -> None:
    uri, good = "torchvision:LSUN/bedroom", bedrooms.read_bytes()
    assert len(names(open_source(uri), "train")) == 60
    for body, complaint in (
        (good[:-4096], "is cut off: it has"),
        (good[:9000], "is cut off: it has"),
        (good[:100], "is no LMDB database"),
        (b"", "is no LMDB database"),
        (b"x" * 20000, "is no LMDB database"),
    ):
        bedrooms.write_bytes(body)
        assert complaint in refused(uri)
    bedrooms.unlink()
    assert "there is no" in refused(uri)


def test_damaged_pages_of_lsun_do_not_kill(bedrooms: Path, place: Path) -> None:
    """In a process of its own: what is wrong in a mapped file may end one."""
    body = bytearray(bedrooms.read_bytes())
    chance = np.random.default_rng(1)
    for page in range(2, len(body) // 4096, 3):
        body[4096 * page + 10 : 4096 * page + 40] = chance.bytes(30)
    bedrooms.write_bytes(body)
    check_whole(bedrooms)
    program = (
        "from dcvae.errors import UserError\n"
        "from dcvae.sharding.shard import shard\n"
        "try:\n"
        f"    shard('torchvision:LSUN/bedroom', {str(place / 'set')!r}, resolution=4)\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "is damaged" in done.stdout


def test_options_that_mean_nothing(tmp_path: Path) -> None:
    paint(tmp_path / "1.png")
    for uri, options, complaint in (
        ("sklearn:digits", {"labels": "x.csv"}, "--labels means nothing for sklearn:digits"),
        ("idx:x", {"splits": "none"}, "--splits means nothing"),
        (str(tmp_path), {"image": "png"}, "--image means nothing"),
    ):
        with pytest.raises(UserError, match=complaint):
            shard(uri, str(tmp_path / "set"), resolution=4, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("uri", ["{long}", "{long}.zip", "idx:{long}", "torchvision:LSUN/{long}"])
def test_names_that_are_too_long(place: Path, uri: str) -> None:
    assert refused(uri.replace("{long}", str(place / ("x" * 300))))


def test_archives_that_are_none(tmp_path: Path) -> None:
    paint(tmp_path / "folder.zip" / "1.png")
    source = open_source(str(tmp_path / "folder.zip"), test=0)
    assert names(source, "train") == ["1.png"]
    paint(tmp_path / "1.png")
    path = tmp_path / "images"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "1.png", "1.png")
        archive.write(tmp_path / "1.png", "ü" * 300 + ".png")
    assert len(names(open_source(str(path), test=0), "train")) == 2
    body = bytearray(path.read_bytes())
    entry = body.rindex(b"PK\x01\x02")
    body[entry + 6 : entry + 8] = struct.pack("<H", 99)
    path.write_bytes(body)
    assert "zip file version 9.9" in refused(str(path))
