"""The real pipeline, on a real S3 server, with real ranks: to a champion, and not past it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dcvae
from dcvae.registry import history
from dcvae.storage.embedded import embedded_s3

PIPELINE = Path(__file__).parent.parent.parent / "pipelines" / "digits.py"
FAST = ["--set", "preset=smoke", "--set", "samples=64", "--set", "maximum={}"]


def run(where: Path, *settings: str) -> str:
    """What the pipeline prints when it is run in the folder ``where``."""
    arguments = ["--set", f"settings={json.dumps(settings)}"]
    done = subprocess.run(
        [sys.executable, str(PIPELINE), "--local", *FAST, *arguments],
        cwd=where,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What the runs have left: their server, started again on the same files."""
    with embedded_s3(tmp_path / ".dcvae" / "s3") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield "s3://dcvae"


@pytest.mark.timeout(600)
def test_a_champion_that_a_worse_model_does_not_replace(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    said = run(tmp_path, "training.learning_rate=0.003")
    assert "version 1 is the champion" in said
    assert "training images: 192 of 192 (100 %)" in said
    for noise in ("executor_input", "Traceback", "Warning", "\x1b["):
        assert noise not in said
    made = tmp_path / "demo" / "digits"
    assert (made / "report.html").read_text().startswith("<!doctype html>")
    for name in ("samples.png", "reconstructions.png", "model/model.safetensors"):
        assert (made / name).stat().st_size > 1000

    worse = run(tmp_path, "training.learning_rate=1e-12")
    assert "version 2 is not the champion" in worse

    again = run(tmp_path, "training.learning_rate=0.003")
    assert "version 1 is the champion" in again
    assert "training images" not in again, "a finished training is not repeated"

    bucket = request.getfixturevalue("bucket")
    model = dcvae.load(f"{bucket}/models/digits")
    assert model.sample(3).shape == (3, 1, 8, 8)
    assert [(event.version, event.moved) for event in history(f"{bucket}/models", "digits")] == [
        (1, True),
        (2, False),
    ]
