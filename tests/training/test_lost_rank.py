"""A rank that is lost ends all, within a minute and with a sentence."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch.distributed as dist

from dcvae.presets import configure
from dcvae.training.watch import LOST_EXIT_CODE, Watch


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_killed_rank_ends_the_other(digits: Path, tmp_path: Path) -> None:
    """Two real ranks without a launcher that would end the second one itself."""
    phases = '[{"resolution":8,"images":10000000,"batch_size":16}]'
    config = configure("smoke", [f"training.phases={phases}"]).model_dump_json()
    command = [sys.executable, "-m", "dcvae.training", "--config", config]
    command += ["--data", str(digits), "--out", str(tmp_path / "run")]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen(
            command,
            env={
                **os.environ,
                **shared,
                "RANK": str(n),
                "LOCAL_RANK": str(n),
                "DS_ACCELERATOR": "cpu",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            assert time.monotonic() < deadline
            assert all(process.poll() is None for process in ranks)
            time.sleep(0.1)
        ranks[1].send_signal(signal.SIGKILL)
        _, said = ranks[0].communicate(timeout=60)
    finally:
        for process in ranks:
            process.kill()
    assert ranks[0].returncode == LOST_EXIT_CODE, said
    assert said.splitlines()[-1].startswith("error: ")
    assert "all ranks end; the same command goes on from the last checkpoint" in said


def test_a_frozen_rank_is_missed_and_one_that_left_is_not() -> None:
    """Nothing closes a frozen process's connections: only its silence tells."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    lost: list[str] = []
    watches = [Watch(store, n, 3, limit=0.4, lost=lost.append) for n in range(3)]
    time.sleep(1.2)
    assert not lost
    watches[2].leave()
    time.sleep(1.2)
    assert not lost
    watches[1].stopped.set()  # frozen: no sign of life, and no leave
    deadline = time.monotonic() + 10
    while not lost and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lost[0].startswith("rank 1 has shown no sign of life for ")
    watches[0].leave()
