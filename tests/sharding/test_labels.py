"""Labels in a file beside the images: StyleGAN's dataset.json, or a CSV file."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.sharding.sources import open_source
from dcvae.shards.encodings import BadImage
from dcvae.storage import join, open_storage
from dcvae.streaming.stream import read_split
from tests.sharding.folders import paint


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Eight pictures as StyleGAN's tools lay them down: in folders that mean nothing."""
    for n in range(8):
        paint(tmp_path / "x" / f"{n // 4:05d}" / f"img{n:08d}.png", n)
    return tmp_path / "x"


def found(uri: str, **options: Any) -> tuple[list[str] | None, dict[int, str]]:
    """(classes, image → its class)."""
    source = open_source(uri, test=0, **options)
    labels = {}
    for item in source.items("train"):
        assert not item.bad, item
        assert source.classes is None or item.label is not None
        if source.classes is not None and item.label is not None:
            labels[int(Path(item.name).stem.lstrip("img"))] = source.classes[item.label]
    return source.classes, labels


@pytest.mark.parametrize("kind", ["folder", "zip", "wrapped zip", "s3"])
def test_stylegans_own_file(images: Path, kind: str, request: pytest.FixtureRequest) -> None:
    entries = [[f"{n // 4:05d}/img{n:08d}.png", n % 3] for n in range(8)]
    (images / "dataset.json").write_text(json.dumps({"labels": entries}))
    uri = str(images)
    if kind == "zip":
        uri = shutil.make_archive(uri, "zip", images)
    elif kind == "wrapped zip":
        uri = shutil.make_archive(uri, "zip", images.parent, images.name)
    elif kind == "s3":
        uri = request.getfixturevalue("s3_uri")
        for path in images.rglob("*.*"):
            open_storage(uri).write(path.relative_to(images).as_posix(), path)
    assert found(uri) == (["0", "1", "2"], {n: str(n % 3) for n in range(8)})
    assert found(uri, classes="folders")[0] == ["00000", "00001"]
    assert found(uri, classes="none")[0] is None


def test_a_set_keeps_them(images: Path, tmp_path: Path) -> None:
    (images / "dataset.json").write_text(
        json.dumps({"labels": [[f"{n // 4:05d}/img{n:08d}.png", n % 3] for n in range(8)]})
    )
    manifest = shard(str(images), str(tmp_path / "set"), resolution=4, test=2)
    assert manifest.notes[-1] == f"labels are those of {images}/dataset.json"
    for split, count in (("train", 6), ("test", 2)):
        (batch,) = read_split(open_storage(str(tmp_path / "set")), manifest, split, 4, 9)
        assert batch.labels is not None
        assert batch.labels.tolist() == [n % 3 for n in batch.images[:, 0, 0, 0].tolist()]
        assert len(batch.labels) == count


def test_no_labels_in_stylegans_file_are_no_classes(images: Path) -> None:
    (images / "dataset.json").write_text('{"labels": null}')
    assert found(str(images)) == (None, {})


def test_another_file_of_that_name(images: Path) -> None:
    (images / "dataset.json").write_text('{"info": "COCO"}')
    assert found(str(images))[0] == ["00000", "00001"]


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{n // 4:05d}/img{n:08d}.png,{'ab'[n % 2]}\n" for n in range(8)),
        "file,label\n" + "".join(f"img{n:08d}.png,{'ab'[n % 2]}\n" for n in range(8)),
        "id\tbreed\n" + "".join(f"img{n:08d}\t{'ab'[n % 2]}\r\n" for n in range(8)),
        "label;file\n" + "".join(f"{'ab'[n % 2]};img{n:08d}.png\n" for n in range(8)),
        "\ufefffilename,width,class\n" + "".join(f"img{n:08d}.png,9,{'ab'[n % 2]}\n"
                                                 for n in range(8)),
        'file,label\n' + "".join(f'"img{n:08d}.png","{"ab"[n % 2]}"\n\n' for n in range(8)),
        json.dumps({f"img{n:08d}.png": "ab"[n % 2] for n in range(8)}),
    ],
)  # fmt: skip
def test_tables_of_labels(images: Path, tmp_path: Path, text: str, s3_uri: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode())
    expected = (["a", "b"], {n: "ab"[n % 2] for n in range(8)})
    assert found(str(images), labels=str(path)) == expected
    open_storage(s3_uri).write("labels.csv", path)
    assert found(str(images), labels=join(s3_uri, "labels.csv")) == expected


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "has no columns"),
        (b"file,label\n", "has no labels"),
        (b"a\nb\n", "has no columns: write one line for each image, file,label"),
        (b"x,y,z\n1,2,3\n", "has 3 columns: keep two, or call them file and label"),
        (b"img00000000.png,a\nimg00000000.png,b\n", "gives img00000000.png two labels: a and b"),
        (b"img00000000.png,a\nimg00000001.png\n", "line 2: no file and label"),
        (b"img00000000.png,\n", "line 1: no label"),
        (b"other.png,a\nmore.png,b\n", "2 labels, such as that of more.png, but of no image of"),
        (b"\xff\xfe,\xe4", "is not UTF-8 text"),
        (b"{", "is not valid JSON"),
        (b"[1, 2]", "has the entry 1: each must be a file and the number or name"),
        (b'{"labels": [["img00000000.png", [0, 1]]]}', "each must be a file and the number"),
        (b'{"labels": 7}', "is no list of labels"),
    ],
)
def test_files_that_are_no_labels(
    images: Path, tmp_path: Path, body: bytes, complaint: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(body)
    with pytest.raises(UserError, match=complaint.replace("[", r"\[")) as caught:
        shard(str(images), str(tmp_path / "set"), resolution=4, test=0, labels=str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_images_without_a_label_are_bad_ones(images: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("".join(f"img{n:08d}.png,{n % 2}\n" for n in range(7)) + "gone.png,1\n")
    options: Any = {"resolution": 4, "test": 0, "labels": str(path)}
    with pytest.raises(UserError, match=r"1 of 8 images cannot be used.*no label in labels\.csv"):
        shard(str(images), str(tmp_path / "set"), **options)
    manifest = shard(str(images), str(tmp_path / "set"), **options, max_bad_fraction=0.2)
    assert [s.reason for s in manifest.skipped] == ["no label in labels.csv"]
    assert ("labels without an image", 1) in [(i.kind, i.files) for i in manifest.ignored]


def test_one_name_for_two_images(images: Path, tmp_path: Path) -> None:
    paint(images / "00001" / "img00000000.png")
    path = tmp_path / "labels.csv"
    path.write_text("".join(f"img{n:08d}.png,{n % 2}\n" for n in range(8)))
    with pytest.raises(UserError, match=r"means 00000/img.*png and 00001/img.*give their paths"):
        shard(str(images), str(tmp_path / "set"), resolution=4, labels=str(path))


def test_labels_and_classes_say_two_things(images: Path) -> None:
    with pytest.raises(UserError, match="contradict each other"):
        _ = open_source(str(images), labels="x.csv", classes="none").classes
    with pytest.raises((UserError, BadImage), match=r"there is no .*x\.csv"):
        _ = open_source(str(images), labels="x.csv").classes


def test_growth_brings_new_labels(images: Path, tmp_path: Path) -> None:
    path, place = tmp_path / "labels.csv", str(tmp_path / "set")
    path.write_text("".join(f"img{n:08d}.png,{n % 2}\n" for n in range(8)))
    options: Any = {"resolution": 4, "test": 0, "labels": str(path)}
    shard(str(images), place, **options)
    paint(images / "00002" / "img00000008.png", 8)
    path.write_text(path.read_text() + "img00000008.png,2\n")
    grown = shard(str(images), place, **options)
    assert grown.classes == ["0", "1", "2"]
    batches = list(read_split(open_storage(place), grown, "train", 4, 99))
    assert {(int(p), int(n)) for b in batches for p, n in
            zip(b.images[:, 0, 0, 0], b.labels, strict=True)} == {
        *((n, n % 2) for n in range(8)), (8, 2)}  # fmt: skip
