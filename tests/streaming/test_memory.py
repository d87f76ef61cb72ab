"""Sharding a large source takes no more memory than a small one."""

import os
import subprocess
import sys
from pathlib import Path

SMALL = 5_000
LARGE = int(os.environ.get("DCVAE_TEST_RECORDS", "25000"))  # 1000000 takes two minutes

SCRIPT = """
import sys
from pathlib import Path
from tests.painted import Painted, shard
source = Painted(int(sys.argv[1]), side=4)
first = shard(source, sys.argv[2], resolution=4)
assert shard(source, sys.argv[2], resolution=4) == first
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def peaks(place: Path) -> list[int]:
    """Peak memory in MB of a small and of a large sharding."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(count), str(place / str(count))],
            stdout=subprocess.PIPE,
            text=True,
        )
        for count in (SMALL, LARGE)
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    return [int(words) for words in said]


def test_memory_does_not_grow_with_the_source(tmp_path: Path) -> None:
    small, large = peaks(tmp_path)
    assert large < small + 20
    assert large < 500
