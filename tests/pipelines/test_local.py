"""The local runner: its output reads, nothing is skipped silently, no process is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.launch.a_rank import FOLDER
from tests.processes import alive, below, noted, wait_until

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def started(where: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The toy pipeline, running in the folder ``where``."""
    command = [sys.executable, "-m", "tests.pipelines.toy", *arguments, "--local"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{FOLDER}"}
    with subprocess.Popen(
        [*command, "--set", f"folder={where}"],
        cwd=where,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def test_a_step_that_refuses_ends_the_run_with_its_sentence(tmp_path: Path) -> None:
    with started(tmp_path, "toy", "--set", "task=refuse") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: the images are not images" in output
    assert "Traceback" not in output
    assert "work\n" in output


def test_a_step_that_the_runner_skips_fails_the_run(tmp_path: Path) -> None:
    with started(tmp_path, "skipping") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "error: the runner skipped a step" in output


@pytest.mark.parametrize("task", ["wait", "ranks"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left(tmp_path: Path, task: str, number: signal.Signals) -> None:
    files = ["pid-step"] + (["pid-0", "pid-1", "agent-0"] if task == "ranks" else [])
    with started(tmp_path, "toy", "--set", f"task={task}") as process:
        noted(*(tmp_path / name for name in files))
        tree = below(process.pid)
        assert len(tree) >= len(files) + 1, "the S3 server is among them"
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # what a terminal does at Ctrl-C
        else:
            process.send_signal(number)
        assert process.wait(60) == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(number, -9)
        patience = 10 if number is signal.SIGKILL else 0.5
        wait_until(lambda: not any(alive(pid) for pid in tree), patience)
