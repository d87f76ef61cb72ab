"""What the folders of a source mean: splits and classes, and what is asked."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.sharding.sources import open_source
from dcvae.shards.inspection import table
from dcvae.storage import join, open_storage
from dcvae.streaming.stream import read_split
from tests.sharding.folders import names, paint, zipped


def test_folders_are_classes(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "ant/1.png", "dog/deep/er/1.png"):
        paint(tmp_path / name)
    source = open_source(str(tmp_path), test=1)
    assert source.classes == ["ant", "cat", "dog"]
    labels = {i.name: i.label for split in source.splits for i in source.items(split)}
    assert labels == {"ant/1.png": 0, "cat/1.png": 1, "cat/2.png": 1, "dog/deep/er/1.png": 2}


@pytest.mark.parametrize("kind", ["folder", "zip", "s3", "s3 zip"])
def test_own_splits_and_classes_in_every_kind_of_place(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "pets"
    for n in range(12):
        paint(folder / "train" / ("cat" if n % 3 else "dog") / f"{n}.png", n)
    paint(folder / "test" / "dog" / "90.png", 90)
    uri = str(folder)
    if "zip" in kind:
        uri = shutil.make_archive(str(tmp_path / "pets"), "zip", folder)
    if "s3" in kind:
        place = request.getfixturevalue("s3_uri")
        storage = open_storage(place)
        if kind == "s3 zip":
            storage.write("pets.zip", Path(uri))
            uri = join(place, "pets.zip")
        else:
            for path in folder.rglob("*.png"):
                storage.write(f"pets/{path.relative_to(folder)}", path)
            uri = join(place, "pets")
    manifest = shard(uri, str(tmp_path / "set"), resolution=4)
    assert manifest.name == "pets"
    assert manifest.classes == ["cat", "dog"]
    (train,) = read_split(open_storage(str(tmp_path / "set")), manifest, "train", 4, 99)
    assert train.labels is not None
    assert {
        (int(image[0, 0, 0]), int(label))
        for image, label in zip(train.images, train.labels, strict=True)
    } == {(n, 0 if n % 3 else 1) for n in range(12)}
    assert manifest.samples("test") == 1


def tree(root: Path, paths: str) -> Path:
    """Pictures at ``paths``, separated by blanks."""
    for n, path in enumerate(paths.split()):
        paint(root / path, n)
    return root


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        ("train/a/1.png train/b/2.png test/a/3.png", {"train": 2, "test": 1}),
        ("Train/a/1.png Train/b/2.png TEST/a/3.png", {"train": 2, "test": 1}),
        ("training/a/1.png training/b/2.png testing/a/3.png", {"train": 2, "test": 1}),
        ("train_set/a/1.png train_set/b/2.png test_set/b/3.png", {"train": 2, "test": 1}),
        ("train2017/a/1.png train2017/b/2.png val2017/a/3.png", {"train": 2, "test": 1}),
        ("train/a/1.png train/b/2.png val/a/3.png", {"train": 2, "test": 1}),
        ("train/a/1.png valid/b/2.png test/a/3.png", {"train": 1, "test": 1, "val": 1}),
        ("x/train/a/1.png x/train/b/2.png x/Validation/a/3.png", {"train": 2, "test": 1}),
        ("train/a/1.png train/b/2.png train/b/3.png", {"train": 2, "test": 1}),  # held out
        ("x/a/1.png x/b/2.png x/b/3.png", {"train": 2, "test": 1}),
    ],
)
def test_usual_spellings_of_splits(
    tmp_path: Path, paths: str, splits: dict[str, int], packed: bool
) -> None:
    folder = tree(tmp_path / "set", paths)
    source = open_source(zipped(folder) if packed else str(folder), test=1)
    assert {split: len(names(source, split)) for split in source.splits} == splits
    assert source.classes == ["a", "b"]


def test_what_is_validation_is_told(tmp_path: Path) -> None:
    tree(tmp_path / "x", "Train/a/1.png Train/b/2.png val/a/3.png")
    manifest = shard(str(tmp_path / "x"), str(tmp_path / "set"), resolution=4)
    assert manifest.notes == ["Train/ is the split train", "val/ is the split test"]
    lines = [line.strip() for line in table(manifest).splitlines()]
    assert "2 classes: a, b" in lines
    assert "val/ is the split test" in lines


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        ("train/a/1.png test/a/2.png stray.png", r"train/ beside 1 image: say --splits folders"),
        ("train/1.png test/2.png extra/3.png", r"test/, train/ beside the folder extra/: say"),
        ("bus/1.png car/2.png train/3.png", r"folder train/ beside the folders bus/, car/: say"),
        ("test/a/1.png test/b/2.png", r"folder test/ but no folder for training"),
        ("val/a/1.png test/b/2.png", r"folders test/, val/ but no folder for training"),
        ("Train/a/1.png training/b/2.png", r"of which two mean the same: rename one"),
        ("cat/train/1.png cat/test/2.png dog/train/3.png", r"test/, train/ inside other folders"),
        ("a/b/train/1.png a/b/test/2.png", r"folders test/, train/ inside other folders"),
        ("cat/1.png dog/2.png loose.png", r"cat/, dog/ beside 1 image in no folder: say --classes"),
        ("train/cat/1.png train/dog/2.png test/1.png", r"beside 1 image in no folder: say --cl"),
    ],
)
def test_what_is_not_clear_is_asked(tmp_path: Path, paths: str, complaint: str) -> None:
    folder = tree(tmp_path / "x", paths)
    for uri in (str(folder), zipped(folder)):
        with pytest.raises(UserError, match=complaint):
            shard(uri, str(tmp_path / "set"), resolution=4, test=1)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("paths", "options", "splits", "classes", "left_out"),
    [
        ("train/a/1.png train/b/2.png test/a/3.png s.png", {"splits": "folders"},
         {"train": 2, "test": 1}, ["a", "b"], 1),
        ("train/1.png train/2.png test/3.png s.png", {"splits": "none", "classes": "none"},
         {"train": 3, "test": 1}, None, 0),
        ("train/1.png train/2.png bus/3.png car/4.png", {"splits": "none"},
         {"train": 3, "test": 1}, ["bus", "car", "train"], 0),
        ("cat/1.png dog/2.png cat/3.png s.png", {"classes": "folders"},
         {"train": 2, "test": 1}, ["cat", "dog"], 1),
        ("cat/1.png dog/2.png cat/3.png s.png", {"classes": "none"},
         {"train": 3, "test": 1}, None, 0),
        ("cat/1.png cat/2.png", {"classes": "folders"}, {"train": 1, "test": 1}, ["cat"], 0),
        ("1.png 2.png", {"test": 0}, {"train": 2}, None, 0),
    ],
)  # fmt: skip
def test_the_options_say_it(
    tmp_path: Path, paths: str, options: Any, splits: dict[str, int],
    classes: list[str] | None, left_out: int,
) -> None:  # fmt: skip
    source = open_source(str(tree(tmp_path, paths)), **{"test": 1, **options})
    assert {split: len(names(source, split)) for split in source.splits} == splits
    assert source.classes == classes
    assert sum(files for _, files, _ in source.ignored) == left_out


def test_entries_that_are_bad_do_not_hide_the_splits(tmp_path: Path) -> None:
    """One duplicate, link, encrypted or hostile entry must not put the test images into train."""
    tree(tmp_path / "x", "train/a/1.png train/b/2.png test/a/3.png")
    path = Path(zipped(tmp_path / "x"))
    body = (tmp_path / "x/train/a/1.png").read_bytes()
    with zipfile.ZipFile(path, "a") as archive:
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("train/a/1.png", body)
        archive.writestr("train\\a\\7.png", body)
        archive.writestr("../test/8.png", body)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "train/a/1.png")
        archive.writestr("train/a/n\u00e4me.png".encode().decode("latin-1"), body)
    source = open_source(str(path))
    items = {split: list(source.items(split)) for split in source.splits}
    assert {split: sum(not i.bad for i in found) for split, found in items.items()} == {
        "train": 3, "test": 1,
    }  # fmt: skip
    assert source.classes == ["a", "b"]
    reasons = sorted(i.bad for found in items.values() for i in found if i.bad)
    assert reasons == ["a link", *2 * ["its path leads out of the zip"], "there twice"]
