"""Sources: the right images, splits and labels; one sentence when there are none."""

import gzip
import pickle
import shutil
import struct
from pathlib import Path

import lmdb
import numpy as np
import pytest

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.sharding.sources import open_source
from dcvae.storage import join, open_storage
from dcvae.streaming.stream import read_split
from tests.sharding.folders import names, paint


def test_lsun_is_read_from_its_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real LMDB folders in LSUN's layout: keys to encoded images."""
    monkeypatch.setenv("DCVAE_SOURCES", str(tmp_path))
    for split, count in (("train", 5), ("val", 2)):
        folder = str(tmp_path / f"bedroom_{split}_lmdb")
        with lmdb.open(folder, map_size=1 << 20) as database, database.begin(write=True) as write:
            for i in range(count):
                paint(tmp_path / "picture.png", value=40 * i)
                write.put(f"{i:040d}".encode(), (tmp_path / "picture.png").read_bytes())
    place = str(tmp_path / "set")
    made = shard("torchvision:LSUN/bedroom", place, resolution=4)
    assert (made.samples("train"), made.samples("test")) == (5, 2)
    (batch,) = read_split(open_storage(place), made, "train", 4, 8)
    assert sorted(batch.images[:, 0, 0, 0].tolist()) == [0, 40, 80, 120, 160]


def test_digits() -> None:
    source = open_source("sklearn:digits")
    train, test = list(source.items("train")), list(source.items("test"))
    assert (len(train), len(test)) == (1438, 359)
    assert {item.name for item in test} == {f"{n:04d}" for n in range(4, 1797, 5)}
    image = source.load(train[0])
    assert isinstance(image, np.ndarray)
    assert (image.shape, image.max(), train[0].label) == ((8, 8), 239, 0)


def test_sources_travel_to_other_processes(tmp_path: Path) -> None:
    for n in range(3):
        paint(tmp_path / "images" / f"{n}.png", n)
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path / "images")
    for uri in (str(tmp_path / "images"), archive, "sklearn:digits"):
        source = open_source(uri, test=1)
        item = next(source.items("train"))
        loaded = source.load(item)
        again = pickle.loads(pickle.dumps(source)).load(item)  # noqa: S301
        assert np.array_equal(np.asarray(again), np.asarray(loaded))


def write_idx(path: Path, values: np.ndarray, zipped: bool) -> None:
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    with gzip.open(f"{path}.gz", "wb") if zipped else path.open("wb") as stream:
        stream.write(head + values.tobytes())


@pytest.mark.parametrize("zipped", [False, True])
def test_idx(tmp_path: Path, zipped: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    for split, count in (("train", 20), ("t10k", 5)):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte", images[:count], zipped)
        labels = np.arange(count, dtype=np.uint8) % 10
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte", labels, zipped)
    manifest = shard(f"idx:{tmp_path}", str(tmp_path / "set"), resolution=32)
    assert (manifest.channels, manifest.samples("train"), manifest.samples("test")) == (1, 20, 5)
    assert manifest.classes == [str(n) for n in range(10)]
    source = open_source(f"idx:{tmp_path}")
    item = list(source.items("train"))[13]
    assert item.label == 3
    assert np.array_equal(source.load(item), images[13])


def test_published_sets_are_read_from_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In torchvision's layouts; these need no download."""
    monkeypatch.setenv("DCVAE_SOURCES", str(tmp_path))
    chance = np.random.default_rng(0)
    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        write_idx(
            raw / f"{split}-images-idx3-ubyte",
            chance.integers(0, 256, (6, 28, 28), np.uint8),
            False,
        )
        write_idx(raw / f"{split}-labels-idx1-ubyte", np.arange(6, dtype=np.uint8), False)
    assert len(names(open_source("torchvision:FashionMNIST"), "test")) == 6

    stl = tmp_path / "stl10_binary"
    stl.mkdir()
    for file, count in (("train", 4), ("unlabeled", 5), ("test", 3)):
        chance.integers(0, 256, (count, 3, 96, 96), np.uint8).tofile(stl / f"{file}_X.bin")
        np.arange(1, count + 1, dtype=np.uint8).tofile(stl / f"{file}_y.bin")
    source = open_source("torchvision:STL10")
    assert [len(names(source, split)) for split in source.splits] == [9, 3, 4]
    test = list(source.items("test"))
    stored = np.fromfile(stl / "test_X.bin", np.uint8).reshape(3, 3, 96, 96)
    assert test[1].label == 1
    assert np.array_equal(source.load(test[1]), stored[1].transpose(2, 1, 0))

    celeba = tmp_path / "celeba"
    parts = {"1.jpg": 0, "2.jpg": 1, "3.jpg": 2, "4.jpg": 0}
    for name in parts:
        paint(celeba / "img_align_celeba" / name)
    text = "".join(f"{name} {part}\n" for name, part in parts.items())
    (celeba / "list_eval_partition.txt").write_text(text)
    source = open_source("torchvision:CelebA")
    assert (names(source, "train"), names(source, "test")) == (["1.jpg", "4.jpg"], ["3.jpg"])


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("sklearn:faces", "sklearn:digits is the only one"),
        ("torchvision:ImageNet", "takes one of CIFAR10, STL10, CelebA, LSUN/bedroom, MNIST"),
        ("torchvision:LSUN", "no known source"),
        ("torchvision:LSUN/bedroom", r"unpack LSUN's LMDB folder to .*bedroom_train_lmdb"),
        ("ftp://host/images", "give a folder, a zip file or an s3:// prefix"),
        ("{tmp}/none", "none does not exist: give a folder of images"),
        ("{tmp}/file", "is a file, neither a folder nor a zip"),
        ("{tmp}/none.zip", r"there is no .*none\.zip"),
        ("{tmp}/bad.zip", "is not a readable zip file"),
        ("idx:{tmp}/empty", "has no IDX images"),
        ("{tmp}/empty", r"empty has no images: no file is a picture such as \.bmp"),
        ("{tmp}/one", "has 1 images: 1 cannot be held out"),
    ],
)
def test_one_sentence_when_there_is_nothing(
    tmp_path: Path, uri: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCVAE_SOURCES", str(tmp_path / "sources"))
    (tmp_path / "file").write_text("x")
    (tmp_path / "bad.zip").write_text("x")
    (tmp_path / "empty").mkdir()
    paint(tmp_path / "one" / "1.png")
    with pytest.raises(UserError, match=complaint) as caught:
        shard(uri.replace("{tmp}", str(tmp_path)), str(tmp_path / "set"), resolution=8)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("kind", ["", "webdataset:"])
def test_a_shard_set_is_not_cut_again(digits: Path, kind: str) -> None:
    with pytest.raises(UserError, match=r"is a shard set already: .* made from, sklearn:digits$"):
        open_source(f"{kind}{digits}")


def test_another_program_s_manifest_is_left_alone(tmp_path: Path) -> None:
    for number in range(10):
        paint(tmp_path / f"{number}.png")
    (tmp_path / "manifest.json").write_text('{"short_name": "holiday"}')
    assert open_source(str(tmp_path)).look().splits == ("train", "test")


def test_without_a_network_it_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCVAE_SOURCES", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="put the unpacked folder cifar-10-batches-py there, or"):
        open_source("torchvision:CIFAR10")


def test_an_empty_prefix(s3_uri: str) -> None:
    with pytest.raises(UserError, match="has no images"):
        shard(s3_uri, join(s3_uri, "set"), resolution=8)
