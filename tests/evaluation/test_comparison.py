"""Evaluations side by side."""

import json
from pathlib import Path

import pytest
import torch

from dcvae.errors import UserError
from dcvae.evaluation.comparison import compare_evaluations
from dcvae.evaluation.results import Dataset, Evaluation, Metric, Protocol, Snapshot
from dcvae.pictures import png, sheet

PROTOCOL = {
    "dataset_fingerprint": "f" * 64,
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


def write(folder: Path, distance: float, recall: float, **changes: object) -> str:
    common = {"samples": 360, "split": "test", "definition": "a test's"}
    evaluation = Evaluation(
        snapshot=Snapshot(
            uri="x", weights_sha256="0" * 64, images=1, resolution=8, preset="p", method="vae"
        ),
        dataset=Dataset(uri="x", name="digits", fingerprint="f" * 64),
        protocol=Protocol(**{**PROTOCOL, **changes}),
        metrics={
            "fd": Metric(value=distance, floor=3.0, **common),
            "recall": Metric(value=recall, better="higher", **common),
        },
        confusion=None,
        versions={},
        created_at="2026-01-01T00:00:00+00:00",
        seconds=1.0,
    )
    folder.mkdir()
    (folder / "evaluation.json").write_text(evaluation.model_dump_json())
    (folder / "samples.png").write_bytes(png(sheet(torch.zeros(4, 1, 8, 8), 2)))
    return str(folder)


def test_a_table_names_the_best_of_each_row(tmp_path):
    entries = {
        "VAE": write(tmp_path / "a", 10.0, 0.2),
        "DC-VAE": write(tmp_path / "b", 7.0, 0.9),
    }
    table = compare_evaluations(entries, str(tmp_path / "out"), "Four <methods>")
    assert table == {"fd": {"VAE": 10.0, "DC-VAE": 7.0}, "recall": {"VAE": 0.2, "DC-VAE": 0.9}}
    html = (tmp_path / "out" / "comparison.html").read_text()
    assert html.count("<b>") == 2
    assert "<b>7</b>" in html
    assert "<b>0.9</b>" in html
    assert html.count("<img") == 2
    assert "Four &lt;methods&gt;" in html
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == table


def test_a_sweep_is_drawn_over_its_values(tmp_path):
    entries = {str(n): write(tmp_path / str(n), 100.0 / n, 0.5) for n in (512, 8, 64)}
    compare_evaluations(entries, str(tmp_path / "out"), "Negatives", sweep="negatives")
    assert (tmp_path / "out" / "comparison.html").read_text().count("<svg") == 2
    words = {"a": entries["8"], "b": entries["64"]}
    with pytest.raises(UserError, match="must be numbers, not a, b"):
        compare_evaluations(words, str(tmp_path / "out"), "Words", sweep="negatives")


def test_different_protocols_do_not_stand_side_by_side(tmp_path):
    entries = {
        "a": write(tmp_path / "a", 1.0, 1.0),
        "b": write(tmp_path / "b", 1.0, 1.0, samples=100),
    }
    with pytest.raises(UserError, match=r"b cannot be compared with a: .* differ in samples"):
        compare_evaluations(entries, str(tmp_path / "out"), "x")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="2 evaluations"):
        compare_evaluations({"a": entries["a"]}, str(tmp_path / "out"), "x")
