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
    images = tmp_path / "images"
    images.mkdir()
    for number in range(12):
        pixels = np.full((8, 8, 3), 9 * number, np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.pipelines.parts",
            str(tmp_path / "a"),
            str(images),
            str(count),
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
    assert made.fingerprint == shard(str(images), str(tmp_path / "b"), resolution=8).fingerprint
    assert f"from {count} parts" in done.stdout
