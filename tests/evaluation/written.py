"""Evaluations as they stand in a bucket, written without measuring anything."""

from pathlib import Path

from dcvae.evaluation.protocol import read_protocol
from dcvae.evaluation.results import (
    RESULT,
    Dataset,
    Evaluation,
    Metric,
    Network,
    Selection,
    Snapshot,
)

FINGERPRINT = "f" * 64


def metric(value: float, **more: object) -> Metric:
    """A number as if it had been measured."""
    common = {"value": value, "samples": 360, "split": "test", "definition": "a test's"}
    return Metric(**{**common, **more})  # type: ignore[arg-type]


def write_evaluation(
    folder: Path,
    metrics: dict[str, Metric],
    weights_sha256: str = "0" * 64,
    *,
    protocol: str = "held-out",
    fingerprint: str = FINGERPRINT,
    selection: Selection | None = None,
    left_out: dict[str, str] | None = None,
) -> str:
    """Writes ``evaluation.json`` as if measured by ``protocol`` (a name, with changes)."""
    asked = read_protocol(protocol)
    evaluation = Evaluation(
        snapshot=Snapshot(
            uri="s3://runs/x",
            weights_sha256=weights_sha256,
            images=128,
            resolution=8,
            preset="smoke",
            method="dcvae",
        ),
        dataset=Dataset(uri="s3://data/digits", name="digits", fingerprint=fingerprint),
        protocol=asked,
        extractor=Network(name=asked.extractor, sha256="5" * 64, input_size=64),
        selection=selection,
        metrics=metrics,
        left_out=left_out or {},
        confusion=None,
        versions={},
        created_at="2026-01-01T00:00:00+00:00",
        seconds=1.0,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(evaluation.model_dump_json())
    return str(folder)
