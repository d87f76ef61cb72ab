"""The benchmark for a GPU works before there is one."""

import json
import os
import subprocess
import sys
from pathlib import Path


def test_a_dry_run_writes_every_table(tmp_path: Path) -> None:
    """In a process of its own: it makes a process group."""
    options = ["--device", "cpu", "--tiny", "--steps", "1", "--out", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "smoke", *options],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    lines = (tmp_path / "tables.md").read_text().splitlines()
    (steps,) = (line.split("|") for line in lines if line.startswith("| smoke |"))
    measured = [cell.strip() for cell in steps[3:-1:3]]
    assert float(measured[0]) > 0
    assert measured[1] == "–", "a processor has no tf32"
    assert float(measured[2]) > 0
    assert any(line.startswith("| aten::") and line.endswith("% |") for line in lines)
    events = json.loads((tmp_path / "timeline-smoke.json").read_text())["traceEvents"]
    assert any("aten::" in event.get("name", "") for event in events)
