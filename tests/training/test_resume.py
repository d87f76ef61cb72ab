"""The real command, killed and run again, ends with the bytes of a run that was never disturbed."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.processes import alive, below
from tests.training.runs import final_tensors, wait_for

TRAIN = [sys.executable, "-m", "dcvae", "train", "--preset", "smoke", "--nproc", "2"]
PHASES = (
    'training.phases=[{"resolution":4,"images":64,"batch_size":16},'
    '{"resolution":8,"images":64,"fade_images":64,"batch_size":16,"learning_rate_factor":2}]'
)
SETTINGS = ["--set", "training.checkpoint_images=32", "--set", PHASES]


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("undisturbed")
    finished = subprocess.run(command(digits, run), capture_output=True, text=True, timeout=200)
    assert finished.returncode == 0, finished.stderr
    (run / "said").write_text(finished.stderr)
    return run


def command(data: Path, out: Path) -> list[str]:
    return [*TRAIN, "--data", str(data), "--out", str(out), *SETTINGS]


def test_the_run_folder_has_what_it_promises(undisturbed: Path) -> None:
    result = json.loads((undisturbed / "result.json").read_text())
    assert result["images"] == 192
    assert (undisturbed / result["snapshot"] / "model.safetensors").stat().st_size > 10_000
    assert (undisturbed / "samples" / "000000000192.png").read_bytes().startswith(b"\x89PNG")
    assert (undisturbed / "reconstructions" / "000000000192.png").exists()
    lines = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == list(range(32, 193, 32))
    assert {"kl", "gan_generator", "instance_high", "images_per_second"} <= lines[0].keys()
    assert curve(undisturbed) == [(line["images"], pytest.approx(line["kl"])) for line in lines]


def test_a_person_can_follow_it(undisturbed: Path) -> None:
    number = r"-?\d[\d.e+-]*"
    said = (
        rf"training images: 192 of 192 \(100 %\)  8 px, {number} images/s, \d+ % waiting for data, "
        rf"penalty {number}, D {number}, KL {number}/{number}, G {number}, "
        rf"instance {number}/{number}, accuracy \d+/\d+ %"
    )
    assert re.search(said, (undisturbed / "said").read_text())


def test_kill_9_of_a_rank_then_the_same_command(
    digits: Path, undisturbed: Path, tmp_path: Path
) -> None:
    first = subprocess.Popen(
        command(digits, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    marker = tmp_path / "checkpoints" / "000000000096" / "COMMIT.json"
    wait_for(marker.exists, first, marker)
    victims = ranks_below(first.pid)
    assert len(victims) == 2
    os.kill(victims[1], signal.SIGKILL)
    _, errors = first.communicate(timeout=60)
    assert first.returncode not in (0, 2)
    assert "SIGKILL" in errors
    assert not (tmp_path / "result.json").exists()

    again = subprocess.run(command(digits, tmp_path), capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    assert final_tensors(tmp_path) == final_tensors(undisturbed)
    assert metrics(tmp_path) == metrics(undisturbed)
    assert curve(tmp_path) == curve(undisturbed)


def test_sigterm_checkpoints_and_asks_for_a_restart(
    digits: Path, undisturbed: Path, tmp_path: Path
) -> None:
    first = subprocess.Popen(
        command(digits, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    marker = tmp_path / "checkpoints" / "000000000032" / "COMMIT.json"
    wait_for(marker.exists, first, marker)
    ranks = ranks_below(first.pid)
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 143
    assert f"stopped: {tmp_path} is safe up to its last checkpoint; the same command" in errors
    assert not (tmp_path / "running.json").exists()
    assert len(ranks) == 2
    assert not any(map(alive, ranks))
    again = subprocess.run(command(digits, tmp_path), capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    assert final_tensors(tmp_path) == final_tensors(undisturbed)


def test_a_folder_with_another_run_is_refused(digits: Path, undisturbed: Path) -> None:
    other = [*command(digits, undisturbed), "--set", "training.seed=7"]
    finished = subprocess.run(other, capture_output=True, text=True, timeout=200)
    assert finished.returncode == 2
    assert "another configuration" in finished.stderr


def ranks_below(pid: int) -> list[int]:
    """Rank processes of this run, by number."""
    found = {}
    for each in below(pid):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(each)
            if "dcvae.training" in process.cmdline() and "RANK" in process.environ():
                found[int(process.environ()["RANK"])] = process.pid
    return [found[rank] for rank in sorted(found)]


def curve(run: Path) -> list[tuple[int, float]]:
    """The KL divergence over images, as TensorBoard reads it."""
    reader = EventAccumulator(str(run / "tensorboard")).Reload()
    return [(point.step, point.value) for point in reader.Scalars("loss/kl")]


def metrics(run: Path) -> list[dict[str, float]]:
    """Every line but what depends on the clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["images_per_second"], line["data_wait_seconds"]
    return lines
