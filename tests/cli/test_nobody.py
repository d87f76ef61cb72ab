"""Private folders, and a user whom the machine does not know, as pods have them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for everybody, with pictures, and with more of them below a private folder.

    pytest's own are for the user alone who runs the tests.
    """
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    noise = np.random.default_rng(0)
    for number in range(20):
        file = folder / "pictures" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (8, 8), dtype=np.uint8)).save(file)
    shutil.copytree(folder / "pictures", folder / "private" / "pictures")
    shutil.make_archive(str(folder / "private" / "packed"), "zip", folder / "pictures")
    (folder / "private" / "labels.csv").write_text("0.png,x\n")
    (folder / "private").chmod(0)
    yield folder
    (folder / "private").chmod(0o700)
    shutil.rmtree(folder)


PRIVATE = (
    *("private", "private/pictures", "private/packed.zip", "idx:private/idx", "parquet:private/t"),
    *("parquet:private", "webdataset:private/t", "webdataset:private/{00..01}.tar"),
)
SIZE = "--resolution 8"
REFUSED = {
    **{f"shard '{source}' new {SIZE}": "Permission denied" for source in PRIVATE},
    f"shard pictures new {SIZE} --labels private/labels.csv": "Permission denied",
    f"shard pictures private/new {SIZE}": "Permission denied",
    "inspect private/set": "Permission denied",
    f"shard ~/pictures new {SIZE}": "names no folder: Could not determine home directory",
    f"shard torchvision:MNIST new {SIZE}": "there is no home folder: set DCVAE_SOURCES to a folder",
    "sample ~/model --out x.png": "names no folder",
}


def test_one_sentence_each_and_what_needs_no_home_works(place: Path) -> None:
    works = f"shard pictures set {SIZE}"
    command = [sys.executable, "-m", "tests.cli.nobody", *REFUSED, works]
    done = subprocess.run(
        command,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *refused, (code, said, _) = json.loads(done.stdout)
    assert code == 0, said
    for (line, expected), (code, said, output) in zip(REFUSED.items(), refused, strict=True):
        assert code == 2, (line, said)
        assert expected in said, (line, said)
        assert said.startswith("error: "), (line, said)
        assert said.count("\n") == 1, (line, said)
        assert output == ""
    assert not (place / "new").exists()
