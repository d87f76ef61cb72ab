"""A disk that is really full under the embedded server."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MOUNTED = 'mount -t tmpfs -o size=20m none "$0" && exec "$@"'
"""Runs a command where the folder ``$0`` is a disk of 20 MiB, which ends with the command."""


def test_it_is_told_at_once_while_sharding_and_when_it_is_started_again(tmp_path: Path) -> None:
    disk, source = tmp_path / "disk", tmp_path / "source"
    disk.mkdir()
    source.mkdir()
    noise = np.random.default_rng(0)
    for number in range(500):  # 25 MB at the largest size
        pixels = noise.integers(0, 256, (128, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(source / f"{number}.bmp")
    private = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNTED, str(disk)]
    if subprocess.run([*private, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a disk, not even for himself alone")
    program = [sys.executable, "-m", "tests.storage.full_disk", str(disk), str(source)]
    done = subprocess.run([*private, *program], capture_output=True, text=True, check=False)
    said, told = done.stderr.splitlines(), done.stdout.splitlines()
    assert said[-1] == (
        "error: cannot write s3://full/set/train/r128/shard-000000.tar: the disk under "
        f"{disk} is full; free some space, and run the same command again"
    )
    assert [line for line in said if line.startswith("warning")] == [], "nothing was retried"
    (code, seconds) = re.fullmatch(r"ended with (\d) after (\S+) s", told[0]).groups()  # type: ignore[union-attr]
    assert code == "2"
    assert float(seconds) < 20
    assert re.fullmatch(rf"refused after \d\.\d s: the disk under {disk} is full, .*", told[1])
