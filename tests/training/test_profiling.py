"""DeepSpeed's instruments show what is going on, and change nothing."""

import itertools
import re
import time
from pathlib import Path

import pytest

from tests.training.pool import Pool
from tests.training.runs import tensors, train_here

INSTRUMENTS = ["training.log_communication=true", "training.profile_flops=true"]


def timed(settings: list[str], data: str, out: str) -> float:
    """Train with DeepSpeed's instruments, and return how many milliseconds it took."""
    import deepspeed.comm

    began = time.monotonic()
    try:
        train_here(settings, data, out)
    finally:
        deepspeed.comm.configure(enabled=False)  # it is the process's, and others come after us
        deepspeed.comm.reset_log()
    return 1000 * (time.monotonic() - began)


@pytest.mark.parametrize("stage", [0, 1])
def test_tables_in_the_run_folder_and_the_same_weights(
    pool: Pool, digits: Path, tmp_path: Path, stage: int
) -> None:
    data, plain, watched = digits, tmp_path / "plain", tmp_path / "watched"
    settings = [f"training.zero_stage={stage}"]
    pool.run(2, train_here, settings, str(data), str(plain))
    took = pool.run(2, timed, [*settings, *INSTRUMENTS], str(data), str(watched))
    assert tensors(watched) == tensors(plain)
    assert not (plain / "profiles").exists()

    sent = (watched / "profiles" / "communication.txt").read_text()
    assert "Total Latency(ms)" in sent
    rows = [line.split() for line in sent.partition("all_reduce\n")[2].splitlines()]
    reduced = list(itertools.takewhile(lambda row: len(row) == 7, rows))
    # 12 steps, each of D, of encoder and decoder (one message each), and of all three.
    assert sum(int(count) for _, _, count, *_ in reduced) == (48 if stage else 72)
    assert 0 < sum(float(total) for _, _, _, total, *_ in reduced) < took[0]

    names = sorted(file.name for file in (watched / "profiles").glob("flops-*"))
    assert names == ["flops-000000000000.txt", "flops-000000000064.txt"]
    at_4, at_8 = ((watched / "profiles" / name).read_text() for name in names)
    for text in (at_4, at_8):
        assert "DeepSpeed Flops Profiler" in text
        for part in (
            "(encoder): Encoder",
            "(decoder): Decoder",
            "(key_encoder): ProganDualEncoder",
        ):
            assert part in text
    assert operations(at_8) > 2 * operations(at_4) > 0


def operations(text: str) -> float:
    found = re.search(r"fwd MACs per GPU:\s+([\d.]+) (\w?)MACs", text)
    assert found, text
    return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[found[2]]
