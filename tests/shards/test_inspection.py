"""What people are shown of a shard set."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcvae.cli import main
from dcvae.sharding.shard import shard
from dcvae.shards.inspection import contact_sheet, in_bytes, table
from tests.conftest import ShardSet
from tests.painted import Painted


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and everything printed."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out + printed.err


def test_a_sheet_shows_distinct_images_of_the_set(painted: ShardSet) -> None:
    picture = np.asarray(
        contact_sheet(*painted, "train", 8, 64, seed=1)
    )  # 96 pixels a tile, 6 a gap
    assert picture.shape[:2] == (8 * 96 + 7 * 6, 8 * 96 + 7 * 6)
    numbers = {int(r) * 256 + int(g) for r, g, _, _ in picture[3::102, 3::102].reshape(-1, 4)}
    assert len(numbers) == 64
    assert max(numbers) < 1000
    order = Painted(1000).order("train")
    assert len({order.index(number) // 64 for number in numbers}) <= 8, "from few shards"
    other = np.asarray(contact_sheet(*painted, "train", 8, 64, seed=2))
    assert not np.array_equal(other, picture)


def test_the_table_says_what_the_manifest_says(painted: ShardSet) -> None:
    lines = table(painted.manifest).splitlines()
    assert lines[0].startswith("painted from painted:1000: RGB, 7 classes, ")
    assert " ".join(lines[3].split()) == "split pixels stored images shards size per image"
    assert [line.split()[:5] for line in lines[4:8]] == [
        [split, side, "npy", images, shards]
        for split, images, shards in (("train", "1,000", "16"), ("test", "200", "4"))
        for side in ("4", "8")
    ]
    assert [line.strip() for line in lines[8:]] == ["", "7 classes: 0, 1, 2, 3, 4, 5, 6"]


def test_shard_ends_with_the_table_and_inspect_draws(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "broken.jpg").write_bytes(b"nothing")
    place = str(tmp_path / "set")
    code, said = run(capsys, "shard", str(photographs), place, "--resolution", "256",
                     "--min-resolution", "64", "--lossless", "--test", "0.2",
                     "--max-bad-fraction", "0.1")  # fmt: skip
    assert code == 0, said
    assert "png" in said
    assert "1 images were skipped" in said
    assert "broken.jpg" in said
    out = tmp_path / "look.png"
    code, said = run(capsys, "inspect", place, "--split", "test", "-n", "4", "--out", str(out))
    assert code == 0, said
    assert said.splitlines()[-1] == str(out)
    assert Image.open(out).size == (4 * 96 + 3 * 6, 96)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--split", "dev"], "painted has no split dev: it has train, test"),
        (["--resolution", "32"], "painted has no images of 32 pixels"),
        (["--out", "{set}"], "name it like {set}.png"),
    ],
)
def test_what_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    place = str(tmp_path)
    shard(Painted(20), place, resolution=8)
    code, said = run(capsys, "inspect", place, *(text.format(set=place) for text in arguments))
    assert code == 2
    assert sentence.format(set=place) in said


def test_sizes_read_well() -> None:
    sizes = [0, 999, 1000, 99_949, 999_499, 999_500, 2_400_000_000]
    assert [in_bytes(n) for n in sizes] == [
        "0 B", "999 B", "1.0 kB", "99.9 kB", "999 kB", "1.0 MB", "2.4 GB",
    ]  # fmt: skip
