"""A step's numbers are on a real Pushgateway when it has ended, however it ended."""

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dcvae.environment import PUSHGATEWAY
from dcvae.launch.push import pushing
from tests.launch.pushgateway import pushgateway, read
from tests.processes import wait_until

STEP = """
import sys, time
from pathlib import Path
from dcvae.errors import UserError
from dcvae.launch.pipeline_step import running_step
from dcvae.storage.metrics import RETRIES
with running_step():
    RETRIES.inc(3)
    if sys.argv[1] == "refuse":
        raise UserError("there are no images")
    Path(sys.argv[2]).touch()
    if sys.argv[1] == "wait":
        time.sleep(60)
"""


def step(task: str, started: Path, gateway: str, pipeline: str) -> subprocess.Popen[str]:
    told = {"DCVAE_PUSHGATEWAY": gateway, "DCVAE_PIPELINE": pipeline, "DCVAE_STEP": "Cut / shards"}
    return subprocess.Popen(
        [sys.executable, "-c", STEP, task, str(started)],
        env={**os.environ, **told},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def numbers(gateway: str, pipeline: str) -> dict[str, float]:
    """What the gateway has about the step of a pipeline, by name."""
    found = {}
    for family in text_string_to_metric_families(read(gateway)):
        for sample in family.samples:
            if sample.labels.get("pipeline") == pipeline and "dcvae_task_" in sample.name:
                assert sample.labels["step"] == "Cut / shards"
                assert sample.labels["job"] == "dcvae-steps"
                found[sample.name.removeprefix("dcvae_task_")] = sample.value
    return found


def test_how_a_step_went_is_there_when_it_has_ended(tmp_path: Path) -> None:
    with pushgateway(tmp_path) as gateway:
        tasks = {"well": 0, "refuse": 2, "wait": 143}
        started = {task: step(task, tmp_path / task, gateway, task) for task in tasks}
        wait_until((tmp_path / "wait").exists, 60)
        started["wait"].send_signal(signal.SIGTERM)
        for task, code in tasks.items():
            _, errors = started[task].communicate(timeout=60)
            assert started[task].returncode == code, errors
            found = numbers(gateway, task)
            assert found["success"] == (code == 0)
            assert found["storage_retries"] == 3
            assert found["storage_errors"] == found["skipped_images"] == 0
            assert 0 < found["seconds"] < 60
            assert found["end_timestamp_seconds"] > 1.7e9
        again = step("well", tmp_path / "again", gateway, "refuse")
        assert again.wait(60) == 0
        assert numbers(gateway, "refuse")["success"] == 1, "the last run is what counts"


def test_a_gateway_that_is_away_costs_a_warning(tmp_path: Path) -> None:
    process = step("well", tmp_path / "well", "http://127.0.0.1:9", "digits")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert not errors
    assert "warning: the step's numbers could not be pushed to http://127.0.0.1:9" in output


def greet(server: socket.socket) -> None:
    """Speak, but no HTTP."""
    with suppress(OSError):
        server.accept()[0].sendall(b"+OK\r\n")


@pytest.mark.parametrize(
    "address", ["no address", "http://[", "ftp://x/y", "http://u:secret@nowhere.invalid", "{}"]
)
def test_an_address_that_is_none_never_fails_a_step(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv(PUSHGATEWAY, address.format(f"127.0.0.1:{server.getsockname()[1]}"))
        threading.Thread(target=greet, args=(server,), daemon=True).start()
        with pushing():
            pass
    said = capsys.readouterr().out
    assert said.startswith("warning: the step's numbers could not be pushed to ")
    assert "secret" not in said
    assert said.count("\n") == 1


def test_nothing_is_pushed_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = step("well", tmp_path / "well", "", "digits")
    assert process.communicate(timeout=60) == ("", "")
