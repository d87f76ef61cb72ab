"""SIGTERM, again and again until everything has ended, loses nothing and breaks nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dcvae.presets import configure
from dcvae.storage import open_storage
from dcvae.training import checkpoint
from dcvae.training.loop import RESTART_EXIT_CODE
from tests.training.pool import Pool
from tests.training.runs import final_tensors, train_here, wait_for
from tests.training.test_resume import ranks_below

SETTINGS = ["training.checkpoint_images=32", "training.keep_checkpoints=9"]
CONFIG = configure("smoke", SETTINGS)


@pytest.fixture(scope="module")
def undisturbed(pool: Pool, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed")
    pool.run(2, train_here, SETTINGS, str(digits), str(run))
    return run


@pytest.mark.parametrize(
    ("victims", "code"),
    [
        (lambda agent: [agent], 128 + signal.SIGTERM),
        (lambda agent: ranks_below(agent)[1:], RESTART_EXIT_CODE),
    ],
    ids=["the agent", "one rank"],
)
def test_a_storm_of_sigterm(
    pool: Pool,
    digits: Path,
    undisturbed: Path,
    tmp_path: Path,
    victims: Callable[[int], list[int]],
    code: int,
) -> None:
    run = tmp_path / "run"
    agent = start(digits, run, tmp_path / "logs")
    marker = run / "checkpoints" / "000000000032" / "COMMIT.json"
    wait_for(marker.exists, agent, marker)
    targets, deadline, sent = victims(agent.pid), time.monotonic() + 60, 0
    while agent.poll() is None:
        assert time.monotonic() < deadline
        sent += sum(send(pid) for pid in targets)
        time.sleep(0.002)
    assert agent.returncode == code
    assert sent > 10
    assert not ranks_below(agent.pid)
    stopped = checkpoint.committed(open_storage(str(run / "checkpoints")))
    assert 32 <= stopped[-1] < 192
    pool.run(2, train_here, SETTINGS, str(digits), str(run))
    assert final_tensors(run) == final_tensors(undisturbed)


def start(data: Path, out: Path, logs: Path) -> subprocess.Popen[bytes]:
    """Torchrun's agent with two ranks, as it runs in a pod."""
    logs.mkdir()
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "dcvae.launch.agent", "--standalone"),
            *("--local-addr", "127.0.0.1", "--nproc-per-node", "2", "-m", "dcvae.training"),
            *("--config", CONFIG.model_dump_json(), "--data", str(data), "--out", str(out)),
        ],
        env=os.environ
        | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "DCVAE_RANK_LOGS": str(logs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def send(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True
