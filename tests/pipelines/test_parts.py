"""Cutting images over several tasks gives the set that one task gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcvae.sharding.shard import shard
from dcvae.shards.manifest import load_manifest
from dcvae.storage import open_storage

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("count", [1, 3])
def test_parts_cut_by_tasks_are_one_set(tmp_path: Path, count: int) -> None:
    """Of images that need the form's options: a folder called train beside others, and labels."""
    images, labels = tmp_path / "images", tmp_path / "the labels.csv"
    for number in range(12):
        file = images / ("train", "new")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 9 * number, np.uint8)).save(file)
    rows = [f"{n}.png,{'odd' if n % 2 else 'even'}\n" for n in range(11)]
    labels.write_text("".join(["file,label\n", *rows]))
    options = f"--splits none --labels '{labels}' --max-bad-fraction 0.1"
    options += " --workers 2" if count == 1 else ""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.pipelines.parts",
            str(tmp_path / "a"),
            str(images),
            str(count),
            options,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"part {count} of {count}: " in done.stdout
    *_, last = done.stdout.splitlines()
    assert last.startswith("set: "), "the runner's indented print is undone"
    made = load_manifest(open_storage(last.removeprefix("set: ")))
    there = str(tmp_path / "b")
    expected = shard(
        *(str(images), there), resolution=8, splits="none", labels=str(labels), max_bad_fraction=0.1
    )
    assert made.fingerprint == expected.fingerprint
    assert made.classes == ["even", "odd"]
    assert f"from {count} parts" in done.stdout
    assert "2 classes: even, odd" in done.stdout
    assert "train/new/11.png: " in done.stdout, "it has no label"
