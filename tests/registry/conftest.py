"""Snapshots and evaluations small enough to register by the dozen, and a real S3 server."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from dcvae.presets import configure as preset
from dcvae.snapshot import CONFIG, WEIGHTS
from tests.evaluation import written
from tests.evaluation.written import metric

FD = "fd_efficientnet_lite0_sampling"


def write_snapshot(folder: Path, weights: bytes = b"weights") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    description = {
        "format_version": 1,
        "dcvae_version": "0.1.0",
        "images": 128,
        "resolution": 8,
        "fade": 1.0,
        "config": preset("smoke").model_dump(mode="json"),
        "dataset": {"uri": "s3://data/digits", "name": "digits", "fingerprint": "f" * 64},
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    (folder / CONFIG).write_text(json.dumps(description))
    return str(folder)


def write_evaluation(
    folder: Path,
    weights: bytes = b"weights",
    values: dict[str, float] | None = None,
    **how: Any,
) -> str:
    metrics = {name: metric(value) for name, value in (values or {FD: 100.0}).items()}
    written.write_evaluation(folder, metrics, hashlib.sha256(weights).hexdigest(), **how)
    (folder / "report.html").write_text("<!doctype html>")
    return str(folder)


class Bench:
    """A place for models that differ in their weights and in how good they are."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder, self.registry = folder, registry

    def model(self, tag: str, value: float = 100.0, **how: Any) -> tuple[str, str]:
        weights = f"weights of {tag}".encode()
        snapshot = write_snapshot(self.folder / tag / "snapshot", weights)
        evaluation = write_evaluation(self.folder / tag / "evaluation", weights, {FD: value}, **how)
        return snapshot, evaluation


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, str(tmp_path / "registry"))
