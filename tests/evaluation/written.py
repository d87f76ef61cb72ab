"""Evaluations as they stand in a bucket, written without measuring anything."""

from pathlib import Path

from dcvae.evaluation.results import RESULT, Dataset, Evaluation, Metric, Protocol, Snapshot

FINGERPRINT = "f" * 64
PROTOCOL = {
    "dataset_fingerprint": FINGERPRINT,
    "split": "test",
    "samples": 360,
    "resolution": 8,
    "extractor": "efficientnet-lite0",
    "extractor_sha256": "5" * 64,
    "extractor_input": 64,
    "latent_clamp": None,
    "perceptual": None,
    "seed": 0,
}


def metric(value: float, **more: object) -> Metric:
    """A number as if it had been measured."""
    common = {"value": value, "samples": 360, "split": "test", "definition": "a test's"}
    return Metric(**{**common, **more})  # type: ignore[arg-type]


def write_evaluation(
    folder: Path,
    metrics: dict[str, Metric],
    weights_sha256: str = "0" * 64,
    **protocol: object,
) -> str:
    """Writes ``evaluation.json``; ``protocol`` changes fields of :data:`PROTOCOL`."""
    evaluation = Evaluation(
        snapshot=Snapshot(
            uri="s3://runs/x",
            weights_sha256=weights_sha256,
            images=128,
            resolution=8,
            preset="smoke",
            method="dcvae",
        ),
        dataset=Dataset(uri="s3://data/digits", name="digits", fingerprint=FINGERPRINT),
        protocol=Protocol(**{**PROTOCOL, **protocol}),  # type: ignore[arg-type]
        metrics=metrics,
        confusion=None,
        versions={},
        created_at="2026-01-01T00:00:00+00:00",
        seconds=1.0,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(evaluation.model_dump_json())
    return str(folder)
