"""Models side by side: labels and the paper's figures come from their own configurations."""

import json
from pathlib import Path

import pytest

from dcvae.errors import UserError
from dcvae.presets import configure
from dcvae.report.comparison import compare_models
from dcvae.snapshot import CONFIG, FORMAT_VERSION, WEIGHTS
from tests.evaluation.written import metric, write_evaluation


def write(folder: Path, preset: str, error: float, *settings: str, dataset: str = "mnist") -> str:
    """An evaluation of a model that has a configuration and nothing else."""
    snapshot = folder / "snapshot"
    snapshot.mkdir(parents=True)
    description = {
        "format_version": FORMAT_VERSION,
        "dcvae_version": "0.1.0",
        "images": 0,
        "resolution": configure(preset).model.resolution,
        "fade": 1.0,
        "config": configure(preset, list(settings)).model_dump(mode="json"),
        "dataset": {},
        "weights_sha256": "0" * 64,
    }
    (snapshot / CONFIG).write_text(json.dumps(description))
    (snapshot / WEIGHTS).touch()
    place = write_evaluation(
        folder / "evaluation", {"probe_error_mean": metric(error, samples=10_000)}
    )
    file = Path(place) / "evaluation.json"
    content = json.loads(file.read_text())
    content["snapshot"]["uri"], content["dataset"]["name"] = str(snapshot), dataset
    file.write_text(json.dumps(content))
    return place


def test_table_5_stands_beside_models_of_its_sizes(tmp_path: Path) -> None:
    places = [
        write(tmp_path / str(size), "mnist", error, f"model.latent_dim={size}")
        for size, error in ((32, 0.05), (16, 0.03))
    ]
    out = tmp_path / "out"
    table = compare_models(places, "model.latent_dim", str(out), "Sizes", sweep=True)
    assert table == {"probe_error_mean": {"32": 0.05, "16": 0.03}}
    page = (out / "comparison.html").read_text()
    ours, row = page.index(">0.05<"), page.index("in the paper, Table 5")
    assert ours < row < page.index("0.0127", row) < page.index("0.013<", row)
    assert "Same data set, method and size, by the protocol held-out v1" in page
    lines = (out / "comparison.md").read_text().splitlines()
    assert lines[0] == "| measure | 32 | 16 |"
    assert lines[2] == "| probe_error_mean | 0.05 | 0.03 |"


def test_no_figure_of_the_paper_stands_beside_another_experiment(tmp_path: Path) -> None:
    digits = [
        write(tmp_path / n, "digits", 0.1, f"model.latent_dim={n}", dataset="digits")
        for n in ("16", "32")
    ]
    compare_models(digits, "model.latent_dim", str(tmp_path / "out"), "Sizes")
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "in the paper" not in page
    assert "The paper reports no figures for digits" in page

    methods = [write(tmp_path / "a", "mnist", 0.1), write(tmp_path / "b", "digits", 0.1)]
    compare_models(methods, "objective.negatives", str(tmp_path / "out"), "Negatives")
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "in the paper" not in page
    assert "no figures for values of objective.negatives" in page


def test_models_that_do_not_differ_are_refused(tmp_path: Path) -> None:
    same = [write(tmp_path / name, "mnist", 0.1) for name in ("a", "b")]
    for varied, sentence in (
        ("model.latent_dim", r"both have model\.latent_dim=64"),
        ("model.latent", r"no setting 'model\.latent'"),
    ):
        with pytest.raises(UserError, match=sentence):
            compare_models(same, varied, str(tmp_path / "out"), "Same")
    assert not (tmp_path / "out").exists()
