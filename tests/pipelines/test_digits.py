"""The real pipeline, on a real S3 server, with real ranks: to a champion, and not past it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

import dcvae
from dcvae.registry import history, list_versions
from dcvae.storage.embedded import embedded_s3

PIPELINE = Path(__file__).parent.parent.parent / "pipelines" / "digits.py"
# A few steps of the plain VAE show, unlike an average over so few; none moves the other.
GOOD = ("objective.method=vae", "training.average_decay=0", "training.learning_rate=0.03")
BAD = ("training.learning_rate=1e-12",)
FAST = [
    "preset=smoke",
    "protocol=held-out,samples=64,reference_images=64",
    "maximum={}",
    "source=images",
    "last=2",
]


def draw(folder: Path, first: int, last: int) -> None:
    """Some of scikit-learn's digits as files, as images arrive in a bucket."""
    folder.mkdir(exist_ok=True)
    for number, digit in enumerate(load_digits().images[first:last], first):
        Image.fromarray((digit * 15).astype("uint8")).save(folder / f"{number}.png")


def run(where: Path, *settings: str) -> str:
    """What the pipeline prints when it is run in the folder ``where``."""
    values = [*FAST, f"settings={json.dumps(settings)}"]
    arguments = [part for value in values for part in ("--set", value)]
    done = subprocess.run(
        [sys.executable, str(PIPELINE), "--local", *arguments],
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
def test_a_retrain_does_something_when_there_are_new_images_and_only_a_better_model_leads(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    draw(tmp_path / "images", 0, 1500)
    said = run(tmp_path, *GOOD)
    assert "version 1 is the champion" in said
    assert "training images: 192 of 192 (100 %)" in said
    for noise in ("executor_input", "Traceback", "Warning", "\x1b["):
        assert noise not in said
    made = tmp_path / "demo" / "digits"
    assert (made / "report.html").read_text().startswith("<!doctype html>")
    for name in ("samples.png", "reconstructions.png", "model/model.safetensors"):
        assert (made / name).stat().st_size > 1000

    draw(tmp_path / "images", 1500, 1797)
    worse = run(tmp_path, *BAD)
    assert "training images: 192 of 192 (100 %)" in worse, "there are new images"
    refused = r"version 2 is not the champion: .* worse than .* of the champion, version 1"
    assert re.search(refused, worse), "which was measured on the new images too"

    again = run(tmp_path, *BAD)
    assert "version 2 is not the champion" in again
    assert "training images" not in again, "a finished training is not repeated"

    bucket = request.getfixturevalue("bucket")
    model = dcvae.load(f"{bucket}/models/digits")
    assert model.sample(3).shape == (3, 1, 8, 8)
    first = list_versions(f"{bucket}/models", "digits")[0]
    compared = [each["images"] for each in first.lineage["selection"]["candidates"]]
    assert compared == [160, 192], "as many of the last snapshots as the form says"
    assert [(event.version, event.moved) for event in history(f"{bucket}/models", "digits")] == [
        (1, True),
        (2, False),
    ]
