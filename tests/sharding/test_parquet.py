"""Parquet tables of images, in the layout of Hugging Face's datasets."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.sharding.sources import open_source
from dcvae.storage import join, open_storage
from dcvae.streaming.stream import read_split
from tests.sharding.test_growth import pixels
from tests.sharding.test_webdataset import picture

NAMES = ["cat", "dog", "eel"]


def write(path: Path, numbers: range, names: list[str] | None = NAMES, **columns: Any) -> Path:
    """A table as ``Dataset.to_parquet`` writes it; ``columns`` replace or are added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {
        "image": [{"bytes": picture(n), "path": f"{n}.png"} for n in numbers],
        "label": [n % 3 for n in numbers],
    } | columns
    table = pa.table({name: values for name, values in made.items() if values is not None})
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if names:
        features["label"] = {"names": names, "_type": "ClassLabel"}
    description = json.dumps({"info": {"features": features}})
    pq.write_table(
        table.replace_schema_metadata({"huggingface": description}), path, row_group_size=7
    )
    return path


@pytest.mark.parametrize("place", ["folder", "s3", "braces"])
def test_images_labels_and_splits(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    write(tmp_path / "x/data/train-00000-of-00002.parquet", range(20))
    write(tmp_path / "x/data/train-00001-of-00002.parquet", range(20, 30))
    write(tmp_path / "x/data/validation-00000-of-00001.parquet", range(30, 35))
    uri = str(tmp_path / "x")
    if place == "s3":
        uri = request.getfixturevalue("s3_uri")
        for path in tmp_path.rglob("*.parquet"):
            open_storage(uri).write(path.relative_to(tmp_path / "x").as_posix(), path)
    elif place == "braces":
        data = tmp_path / "x/data"
        uri = f"{data}/train-{{00000..00001}}-of-00002.parquet::"
        uri += f"{data}/validation-00000-of-00001.parquet"
    told: list[str] = []
    manifest = shard(
        f"parquet:{uri}", str(tmp_path / "set"), resolution=8, samples_per_shard=8, workers=2,
        progress=lambda done, total, what: told.append(what),
    )  # fmt: skip
    assert manifest.classes == NAMES
    assert any(what.startswith("reading") for what in told)
    for split, numbers in (("train", range(30)), ("test", range(30, 35))):
        (batch,) = read_split(open_storage(str(tmp_path / "set")), manifest, split, 8, 99)
        assert batch.labels is not None
        values = batch.images[:, 0, 0, 0].tolist()
        assert sorted(values) == list(numbers)
        assert batch.labels.tolist() == [n % 3 for n in values]
    assert len(manifest.notes) == 2


def test_growth_and_reruns(tmp_path: Path) -> None:
    place, options = str(tmp_path / "set"), {"resolution": 8, "samples_per_shard": 8}
    write(tmp_path / "x/a.parquet", range(20))
    first = shard(f"parquet:{tmp_path / 'x'}", place, **options)  # type: ignore[arg-type]
    assert (first.samples("train"), first.samples("test")) == (18, 2)
    os.utime(tmp_path / "x/a.parquet", (1, 1))
    assert shard(f"parquet:{tmp_path / 'x'}", place, **options) == first  # type: ignore[arg-type]
    write(tmp_path / "x/b.parquet", range(20, 30))
    second = shard(f"parquet:{tmp_path / 'x'}", place, **options)  # type: ignore[arg-type]
    assert second.grown_from == first.fingerprint
    assert {n for _, n in pixels(open_storage(place))} == set(range(30))
    write(tmp_path / "x/a.parquet", range(1, 21))
    with pytest.raises(UserError, match="of other images"):
        shard(f"parquet:{tmp_path / 'x'}", place, **options)  # type: ignore[arg-type]


def classes(path: Path, **options: Any) -> dict[int, str | None]:
    """Value of the pixels → name of the class."""
    source = open_source(f"parquet:{path}", **{"test": 0, **options})
    found: dict[int, str | None] = {}
    for item in source.items("train"):
        image = Image.open(io.BytesIO(bytes(source.load(item)))).convert("RGB")
        names = source.classes
        found[image.getpixel((0, 0))[0]] = names[item.label] if names and item.label is not None \
            else None  # fmt: skip
    return found


BODIES = [picture(n) for n in range(4)]


@pytest.mark.parametrize(
    ("columns", "names", "options", "expected"),
    [
        ({}, NAMES, {}, ["cat", "dog", "eel", "cat"]),
        ({}, None, {}, ["0", "1", "2", "0"]),
        ({"label": ["b", "a", "b", "a"]}, None, {}, ["b", "a", "b", "a"]),
        ({"label": None}, None, {}, [None] * 4),
        ({}, NAMES, {"labels": "none"}, [None] * 4),
        ({"image": BODIES}, NAMES, {}, ["cat", "dog", "eel", "cat"]),
        ({"coarse": ["x"] * 4}, NAMES, {"labels": "coarse"}, ["x"] * 4),
        ({"image": None, "jpg": BODIES, "text": ["t"] * 4}, NAMES, {},
         ["cat", "dog", "eel", "cat"]),
        ({"depth": [{"bytes": b"x", "path": ""}] * 4}, NAMES, {"image": "image"},
         ["cat", "dog", "eel", "cat"]),
    ],
)  # fmt: skip
def test_columns(
    tmp_path: Path, columns: Any, names: Any, options: Any, expected: list[str | None]
) -> None:
    path = write(tmp_path / "a.parquet", range(4), names, **columns)
    assert classes(path, **options) == dict(enumerate(expected))


@pytest.mark.parametrize(
    ("columns", "options", "complaint"),
    [
        ({"image": None}, {}, "has no column of images: its columns are label"),
        ({"depth": [{"bytes": b"x"}] * 4}, {}, "several columns of images, image, depth: say"),
        ({}, {"image": "picture"}, "has no images in a column picture: its columns are image"),
        ({}, {"labels": "kind"}, "has no labels in a column kind"),
    ],
)
def test_what_is_not_clear_is_asked(
    tmp_path: Path, columns: Any, options: Any, complaint: str
) -> None:
    path = write(tmp_path / "a.parquet", range(4), None, **columns)
    with pytest.raises(UserError, match=complaint):
        shard(f"parquet:{path}", str(tmp_path / "set"), resolution=8, **options)


def test_rows_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """A path is never followed."""
    (tmp_path / "secret.png").write_bytes(picture(99))
    images = [{"bytes": body, "path": "x.png"} for body in BODIES]
    images[1] = {"bytes": None, "path": str(tmp_path / "secret.png")}
    images[2] = {"bytes": b"no image", "path": "x.png"}
    images += [None, {"bytes": picture(5), "path": None}]  # type: ignore[list-item]
    path = write(tmp_path / "a.parquet", range(6), image=images, label=[0, 1, 2, 0, 1, -1])
    manifest = shard(f"parquet:{path}", str(tmp_path / "set"), resolution=8, test=0,
                     max_bad_fraction=0.9)  # fmt: skip
    assert {(s.name, s.reason) for s in manifest.skipped} == {
        ("a.parquet/00000001", "a path and no bytes, or nothing"),
        ("a.parquet/00000002", "not an image"),
        ("a.parquet/00000004", "a path and no bytes, or nothing"),
        ("a.parquet/00000005", "no label"),
    }
    assert {n for _, n in pixels(open_storage(str(tmp_path / "set")))} == {0, 3}


def test_damaged_files_are_told(tmp_path: Path, s3_uri: str) -> None:
    body = write(tmp_path / "a.parquet", range(60)).read_bytes()
    bodies = [b"", b"PAR1", b"<html>", body[:-20], body[: len(body) // 2], body[4:]]
    bodies += [body[:n] + b"\xff" * 40 + body[n + 40 :] for n in (len(body) - 60,)]
    for wrong in bodies:
        (tmp_path / "a.parquet").write_bytes(wrong)
        with pytest.raises(UserError) as caught:
            shard(f"parquet:{tmp_path}", str(tmp_path / "set"), resolution=8)
        assert "\n" not in str(caught.value)
        assert "a.parquet" in str(caught.value) or "cannot be used" in str(caught.value)
    with pytest.raises(UserError, match=r"has no files that end in \.parquet"):
        shard(f"parquet:{join(s3_uri, 'none')}", str(tmp_path / "set"), resolution=8)
