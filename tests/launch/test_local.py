"""Ranks on this machine: what they say is shown, how they end is told, and none is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dcvae.errors import UserError
from dcvae.launch.lines import Progress
from dcvae.launch.local import LocalRanks
from dcvae.launch.ranks import RankError

# A rank of its own kind: notes its number, says something, then does what it is told.
RANK = """
import os, signal, sys, time
from pathlib import Path
from dcvae.launch.lines import progress
from dcvae.launch.process import die_with_parent

die_with_parent()
folder, task = Path(sys.argv[1]), sys.argv[2]
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

def stop(number, frame):
    with (folder / f"stopped-{rank}").open("a") as file:
        file.write("x")
    sys.exit(143)

signal.signal(signal.SIGTERM, stop)
print("an ordinary line that no user should see")
if rank == 0:
    progress(7, 10, {"ranks": world})
(folder / f"pid-{rank}").write_text(str(os.getpid()))
(folder / f"agent-{rank}").write_text(str(os.getppid()))
if task == "wait":
    time.sleep(120)
if task == "fail" and rank == 1:
    print("about to fail", file=sys.stderr)
    sys.exit(3)
if task == "refuse" and rank == 1:
    print("error: the data is not for this", file=sys.stderr)
    sys.exit(2)
if task != "well":
    time.sleep(20)
"""
LAUNCHER = """
import sys
from dcvae.launch.local import LocalRanks
LocalRanks(2, grace=10).run(["a_rank", sys.argv[1], "wait"], lambda progress: None)
"""


@pytest.fixture(autouse=True)
def rank_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_rank.py").write_text(RANK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("DCVAE_LOGS", str(tmp_path / "logs"))


def numbers(folder: Path) -> list[int]:
    """Process numbers of two ranks and their agent, once both ranks run."""
    files = [folder / name for name in ("pid-0", "pid-1", "agent-0", "agent-1")]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files), 60)
    return sorted({int(file.read_text()) for file in files})


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", LAUNCHER, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_progress_is_shown_and_the_rest_is_kept_in_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown: list[Progress] = []
    LocalRanks(2).run(["a_rank", str(tmp_path), "well"], shown.append)
    assert shown == [Progress(7, 10, {"ranks": 2})]
    assert capfd.readouterr() == ("", "")
    logs = (tmp_path / "logs").rglob("stdout.log")
    assert all("no user should see" in log.read_text() for log in logs)


def test_a_failing_rank_is_named_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(RankError, match=r"rank 1 ended with exit code 3") as told:
        LocalRanks(2).run(["a_rank", str(tmp_path), "fail"], lambda progress: None)
    assert "about to fail" in str(told.value)
    assert not any(alive(pid) for pid in numbers(tmp_path))


def test_bad_input_is_told_in_the_ranks_own_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^the data is not for this$"):
        LocalRanks(2).run(["a_rank", str(tmp_path), "refuse"], lambda progress: None)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_stop_asks_each_rank_once_and_leaves_none(
    tmp_path: Path, launcher: subprocess.Popen[bytes], number: signal.Signals, code: int
) -> None:
    running = numbers(tmp_path)
    launcher.send_signal(number)
    assert launcher.wait(30) == code
    assert not any(alive(pid) for pid in running)
    assert [(tmp_path / f"stopped-{rank}").read_text() for rank in (0, 1)] == ["x", "x"]


def test_ranks_die_with_a_killed_launcher(
    tmp_path: Path, launcher: subprocess.Popen[bytes]
) -> None:
    running = numbers(tmp_path)
    launcher.kill()
    wait_until(lambda: not any(alive(pid) for pid in running), 10)


def test_ranks_die_with_a_killed_agent(tmp_path: Path, launcher: subprocess.Popen[bytes]) -> None:
    running = numbers(tmp_path)
    os.kill(int((tmp_path / "agent-0").read_text()), signal.SIGKILL)
    assert launcher.wait(30) == 1
    assert b"signal SIGKILL" in (launcher.stderr.read() if launcher.stderr else b"")
    assert not any(alive(pid) for pid in running)
