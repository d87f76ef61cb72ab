"""A rank that is lost ends all, within a minute and with a sentence."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
import torch.distributed as dist

from dcvae.presets import configure
from dcvae.training import ranks
from dcvae.training.watch import LOST_EXIT_CODE, Watch
from tests.processes import free_port
from tests.training.pool import Pool


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


def watched(port: int, limit: float, seconds: float) -> torch.Tensor:
    """How many ranks this one has lost in so many seconds."""
    store = dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False)
    lost: list[str] = []
    watch = Watch(store, ranks.rank(), ranks.world_size(), limit, lost.append)
    time.sleep(seconds)
    watch.leave()
    return torch.tensor(len(lost))


def test_ranks_that_are_held_up_together_lose_nobody(pool: Pool) -> None:
    """A machine that was suspended: who wakes first looks for one that has not woken yet."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    found: list[torch.Tensor] = []
    limit = 2.0
    task = threading.Thread(
        target=lambda: found.extend(pool.run(2, watched, store.port, limit, 2 * limit))
    )
    task.start()
    for rank in range(2):
        store.wait([f"alive/{rank}"])
    for process in pool.processes[:2]:
        os.kill(int(process.pid or 0), signal.SIGSTOP)
    time.sleep(1.2 * limit)
    for process in pool.processes[:2]:
        os.kill(int(process.pid or 0), signal.SIGCONT)
        time.sleep(limit / 5)
    task.join()
    assert [int(lost) for lost in found] == [0, 0]


def keep_a_store(told: str, seconds: float) -> None:
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    Path(told).write_text(str(store.port))
    time.sleep(seconds)


def test_a_store_that_is_frozen_is_missed(pool: Pool, tmp_path: Path) -> None:
    """Asking it for a key would wait for ever, whatever the store's time-out."""
    told = tmp_path / "port"
    task = threading.Thread(target=lambda: pool.run(1, keep_a_store, str(told), 1.0))
    task.start()
    while not (told.exists() and told.read_text()):
        time.sleep(0.02)
    store = dist.TCPStore("127.0.0.1", int(told.read_text()), is_master=False)
    pid = int(pool.processes[0].pid or 0)
    os.kill(pid, signal.SIGSTOP)
    try:
        lost: list[str] = []
        Watch(store, 0, 2, limit=0.4, lost=lost.append)
        deadline = time.monotonic() + 10
        while not lost and time.monotonic() < deadline:
            time.sleep(0.05)
        assert lost[0].startswith("the rank that holds the others together has not answered for ")
    finally:
        os.kill(pid, signal.SIGCONT)
        task.join()
