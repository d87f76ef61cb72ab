"""Whole trainings of tests: in a rank that is here already, waited for, and compared."""

import hashlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def train_here(settings: list[str], data: str, out: str, stop: bool = False) -> bool:
    """Train the preset ``smoke`` as this rank, to the end or to the first step; whether stopped."""
    import torch

    from dcvae.presets import configure
    from dcvae.run_folder import RunFolder
    from dcvae.storage import open_storage
    from dcvae.training.loop import Stopped, Training

    config = configure("smoke", settings)
    folder = RunFolder(open_storage(out), config, data)
    folder.begin()
    with Training(config, folder, torch.device("cpu")) as training:
        training.stop_asked = stop
        try:
            training.run()
        except Stopped:
            return True
    return False


def wait_for(done: Callable[[], object], process: "subprocess.Popen[Any]", what: object) -> None:
    """Wait two minutes for what ``process`` is to bring about; fail if it ends before."""
    deadline = time.monotonic() + 120
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.01)


def tensors(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of tensors below: weights, averages, keys, queues, moments."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*.safetensors")
    }


def final_tensors(run: Path) -> dict[str, str]:
    """Those of the last checkpoint and of the last snapshot of the preset ``smoke``."""
    last = "000000000192"
    found = tensors(run / "checkpoints" / last) | tensors(run / "snapshots" / last)
    assert len(found) == 3
    return found
