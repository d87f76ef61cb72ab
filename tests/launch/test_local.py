"""Ranks on this machine: what they say is shown, how they end is told, and none is left behind."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcvae.errors import UserError
from dcvae.launch import train
from dcvae.launch.local import LocalRanks
from dcvae.launch.logs import rank_logs
from dcvae.launch.starter import RankError
from dcvae.messages import Progress
from dcvae.presets import configure
from dcvae.storage import open_storage
from tests.launch.a_rank import FOLDER
from tests.launch.here import HereRanks
from tests.processes import alive, noted, wait_until

LAUNCHER = """
import sys
from dcvae.launch.local import LocalRanks
LocalRanks(2, grace=10).run(["a_rank", sys.argv[1], "wait"], lambda progress: None)
"""


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    monkeypatch.setenv("DCVAE_LOGS", str(tmp_path / "logs"))


def numbers(folder: Path) -> list[int]:
    """Process numbers of two ranks and their agent, once both ranks run."""
    return noted(*(folder / name for name in ("pid-0", "pid-1", "agent-0", "agent-1")))


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


def test_the_end_is_told_though_the_last_line_be_lost(
    tmp_path: Path, digits: Path, here_ranks: type[HereRanks]
) -> None:
    """Those of here_ranks say nothing at all."""
    shown: list[Progress] = []
    out = str(tmp_path / "run")
    given = configure("smoke", ["objective.method=vae"]), str(digits), out
    train(*given, ranks=here_ranks(), show=shown.append)
    assert shown == [Progress(192, 192, seconds_left=0)]
    train(*given, ranks=here_ranks(), show=shown.append)
    assert len(shown) == 1, "a finished run is not run again"


def test_a_failing_rank_is_named_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(RankError, match=r"rank 1 ended with exit code 3") as told:
        LocalRanks(2).run(["a_rank", str(tmp_path), "fail"], lambda progress: None)
    assert "about to fail" in str(told.value)
    assert not any(alive(pid) for pid in numbers(tmp_path))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own temporary folder, and no other for logs."""
    monkeypatch.delenv("DCVAE_LOGS")
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_logs_of_a_failure_are_kept_with_the_run_and_no_others(
    tmp_path: Path, temporary: Path, uri: str
) -> None:
    LocalRanks(1, keep=f"{uri}/logs").run(["a_rank", str(tmp_path), "well"], lambda progress: None)
    assert list(open_storage(uri).list()) == []
    with pytest.raises(RankError, match=r"all of its output is in .*/logs/\d{4}-") as told:
        LocalRanks(2, keep=f"{uri}/logs").run(
            ["a_rank", str(tmp_path), "fail"], lambda progress: None
        )
    place = re.search(r"output is in (\S+)\. ", str(told.value))
    assert place
    kept = open_storage(place[1])
    assert any(b"about to fail" in kept.read(info.key) for info in kept.list())
    assert list(temporary.glob("*ranks*")) == []


def test_logs_of_a_killed_launcher_are_removed_by_the_next(
    tmp_path: Path, temporary: Path, launcher: subprocess.Popen[bytes]
) -> None:
    running = numbers(tmp_path)
    (left,) = temporary.glob("dcvae-ranks-*")
    with rank_logs(None):
        assert left.exists(), "its launcher lives"
    launcher.kill()
    launcher.wait()
    wait_until(lambda: not any(alive(pid) for pid in running), 10)
    with rank_logs(None):
        assert not left.exists()
    assert list(temporary.glob("dcvae-ranks-*")) == []


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
    said = [stream.read() for stream in (launcher.stdout, launcher.stderr) if stream]
    assert not any(b"::dcvae::" in each for each in said), "that is for programs"


def test_ranks_die_with_a_killed_agent(tmp_path: Path, launcher: subprocess.Popen[bytes]) -> None:
    running = numbers(tmp_path)
    os.kill(int((tmp_path / "agent-0").read_text()), signal.SIGKILL)
    assert launcher.wait(30) == 1
    said = (launcher.stderr.read() if launcher.stderr else b"").decode()
    assert "ended by SIGKILL, most likely for want of memory: give it more" in said
    assert "::dcvae::" not in said, "that is for programs"
    assert not any(alive(pid) for pid in running)


def test_an_agent_can_be_stopped_before_it_has_its_libraries(tmp_path: Path) -> None:
    """In a pod it is the first process, which a signal without a handler does not end."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        f"import pathlib, time\npathlib.Path({str(tmp_path / 'importing')!r}).touch()\n"
        "time.sleep(60)"
    )
    command = [sys.executable, "-m", "dcvae.launch.agent", "-m", "a_rank", str(tmp_path), "well"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ['PYTHONPATH']}"}
    with subprocess.Popen(command, env=environment) as agent:
        wait_until((tmp_path / "importing").exists, 20)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(10) == 143
