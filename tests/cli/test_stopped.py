"""A command that is stopped says what is safe and how to go on, and that is so."""

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_verbs import DCVAE
from tests.evaluation.conftest import write_model

SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def stopped(where: Path, words: list[str], begun: str, number: signal.Signals) -> str:
    """What ``dcvae WORDS`` says once it is sent a signal, right after a line with ``begun``."""
    running = subprocess.Popen([*DCVAE, *words], cwd=where, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    for line in running.stderr:
        if begun in line:
            running.send_signal(number)
            break
    said = running.stderr.read()
    assert running.wait() == 128 + number, said
    assert "Traceback" not in said
    return said.splitlines()[-1]


def again(where: Path, words: list[str]) -> str:
    done = subprocess.run([*DCVAE, *words], cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@SIGNALS
def test_a_sharding(tmp_path: Path, number: signal.Signals) -> None:
    """Of one large photograph under many names, as that takes long to cut and not to write."""
    (tmp_path / "photos").mkdir()
    photo = tmp_path / "photos" / "0.bmp"
    pixels = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    for other in range(1, 60):
        os.link(photo, photo.with_name(f"{other}.bmp"))
    words = ["shard", "photos", "set", "--resolution", "32", "--workers", "1"]
    said = stopped(tmp_path, words, "sharding photos: 0 of 60", number)
    assert said == "stopped: finished shards are safe in set; the same command goes on from there"
    assert not (tmp_path / "set" / "manifest.json").exists()
    assert "set holds photos: 54 train, 6 test" in again(tmp_path, words)


@SIGNALS
def test_an_evaluation(digits: Path, tmp_path: Path, number: signal.Signals) -> None:
    words = ["evaluate", write_model(tmp_path / "snapshot"), "--data", str(digits)]
    words += ["--out", "out", "--samples", "64"]
    said = stopped(tmp_path, words, "reconstructions: ", number)
    told = "what is measured so far is safe in out; the same command goes on from there"
    assert said == f"stopped: {told}"
    assert not (tmp_path / "out" / "evaluation.json").exists()
    if number == signal.SIGTERM:
        again(tmp_path, words)
        assert (tmp_path / "out" / "evaluation.json").exists()
