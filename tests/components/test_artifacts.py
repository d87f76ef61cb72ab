"""What the steps hand to the Kubeflow UI, run as its executor runs them in a pod."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from kfp import dsl
from kfp.dsl import ClassificationMetrics

from components.evaluate import evaluate
from components.train import train
from dcvae.evaluation.names import measurable
from dcvae.evaluation.results import Evaluation
from dcvae.models import DCVAE
from dcvae.presets import configure
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage

COMPONENTS = Path(__file__).parent.parent.parent / "components"


def run(where: Path, step: str, inputs: dict[str, Any], artifacts: dict[str, str]) -> Any:
    """What a step of ``components/`` reports of its outputs: name of each → type."""
    told = {
        "inputs": {"parameterValues": inputs},
        "outputs": {
            "parameters": {"Output": {"outputFile": str(where / step / "Output")}},
            "artifacts": {
                name: {
                    "artifacts": [
                        {
                            "name": name,
                            "type": {"schemaTitle": f"system.{kind}"},
                            "uri": str(where / step / name),
                            "metadata": {},
                        }
                    ]
                }
                for name, kind in artifacts.items()
            },
            "outputFile": str(where / step / "outputs.json"),
        },
    }
    command = [sys.executable, "-m", "kfp.dsl.executor_main"]
    command += ["--component_module_path", str(COMPONENTS / f"{step}.py")]
    command += ["--executor_input", json.dumps(told), "--function_to_execute", step]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((where / step / "outputs.json").read_text())


@pytest.fixture(scope="module")
def steps(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An evaluation and a registration of an untrained model."""
    where = tmp_path_factory.mktemp("steps")
    root, data = str(where / "root"), str(digits)
    torch.manual_seed(0)
    snapshot = f"{root}/runs/r/snapshots/000000000000"
    dataset = {"uri": data, "name": "digits", "fingerprint": "0" * 64}
    save_snapshot(open_storage(snapshot), DCVAE(configure("smoke")), images=0, dataset=dataset)
    common = {"snapshot": snapshot, "data": data, "storage": root}
    measured = run(
        where,
        "evaluate",
        {**common, "protocol": "held-out,samples=40,reference_images=40,reconstructions=40"},
        {"metrics": "Metrics", "confusion": "ClassificationMetrics", "report": "HTML"},
    )
    evaluation = measured["parameterValues"]["Output"]
    registered = run(
        where,
        "register",
        {**common, "evaluation": evaluation, "name": "digits", "maximum": {}, "run": "run-1"},
        {"model": "Model", "card": "Markdown"},
    )
    return where, {"evaluate": measured, "register": registered}


def metadata(steps: tuple[Path, dict[str, Any]], step: str, name: str) -> dict[str, Any]:
    (artifact,) = steps[1][step]["artifacts"][name]["artifacts"]
    found: dict[str, Any] = artifact["metadata"]
    return found


def test_scalars_are_every_measured_number(steps) -> None:  # type: ignore[no-untyped-def]
    stored = json.loads((steps[0] / "evaluate" / "metrics").read_text())
    values = {name: metric["value"] for name, metric in stored["metrics"].items()}
    assert metadata(steps, "evaluate", "metrics") == pytest.approx(values)
    assert len(values) == 11
    better = {name: metric["better"] for name, metric in stored["metrics"].items()}
    assert better == measurable("efficientnet-lite0"), "the names are known beforehand"


def test_the_confusion_matrix_has_every_class(steps) -> None:  # type: ignore[no-untyped-def]
    matrix = metadata(steps, "evaluate", "confusion")["confusionMatrix"]
    digits = [str(digit) for digit in range(10)]
    assert [spec["displayName"] for spec in matrix["annotationSpecs"]] == digits
    assert sum(sum(row["row"]) for row in matrix["rows"]) == 5 * 40


def test_the_report_and_the_card_are_there_to_be_shown(steps) -> None:  # type: ignore[no-untyped-def]
    where, reported = steps
    assert (where / "evaluate" / "report").read_text().startswith("<!doctype html>")
    card = (where / "register" / "card").read_text()
    assert card.startswith("# digits\n")
    assert "fd_efficientnet_lite0_sampling" in card
    uri = reported["register"]["parameterValues"]["Output"]
    assert metadata(steps, "register", "model") == {"version": 1, "uri": uri, "champion": True}


def test_what_follows_from_real_images_is_kept_for_the_next_model(steps) -> None:  # type: ignore[no-untyped-def]
    kept = list((steps[0] / "root" / "reference").rglob("*.safetensors"))
    assert len(kept) == 3  # features of two sets, and the probe of principal components


class Measured:
    """An evaluation one of whose numbers could not be computed."""

    confusion = None
    finite = Evaluation.finite

    def values(self) -> dict[str, float]:
        return {"fd": 1.5, "kd": float("nan"), "probe": float("inf")}

    def lines(self) -> list[str]:
        return [f"{name}: {value}" for name, value in self.values().items()]


def test_what_is_no_number_never_reaches_kubeflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its JSON has no NaN: the launcher would fail the step over the result of hours."""

    def measure(snapshot: str, data: str, out: str, *rest: Any, **options: Any) -> Measured:
        for name in ("evaluation.json", "report.html"):
            open_storage(out).write(name, b"{}")
        return Measured()

    monkeypatch.setattr("dcvae.evaluation.evaluate", measure)
    metrics = dsl.Metrics(uri=str(tmp_path / "metrics"))
    others = [cls(uri=str(tmp_path / cls.__name__)) for cls in (ClassificationMetrics, dsl.HTML)]
    snapshot = f"{tmp_path}/runs/r/snapshots/000000000000"
    dataset = {"uri": "x", "name": "digits", "fingerprint": "0" * 64}
    save_snapshot(open_storage(snapshot), DCVAE(configure("smoke")), images=0, dataset=dataset)
    evaluate.python_func(snapshot, "data", str(tmp_path), "held-out", metrics, *others)
    assert metrics.metadata == {"fd": 1.5}
    assert "kd: nan" in capsys.readouterr().out, "people are told"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"name": "Digits"}, "'Digits' cannot name a model"),
        (
            {"name": "digits", "maximum": {"fid_sampling": 9.0}},
            "asks for fid_sampling, which held-out v1 does not",
        ),
        ({"name": "digits", "registry": "wandb"}, "there is no registry 'wandb'"),
        ({"select_by": "beauty"}, "cannot be compared by 'beauty'; use one of: frechet_samp"),
        ({"last": 0}, "the last 0 snapshots cannot be looked at"),
    ],
)
def test_what_later_steps_would_refuse_is_refused_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: dict[str, Any], sentence: str
) -> None:
    """A form that was filled in Kubeflow's page has met no command line of ours."""
    model = dsl.Model(uri=str(tmp_path / "model"))
    with pytest.raises(SystemExit) as ended:
        train.python_func("no-data", "smoke", [], str(tmp_path), 1, model, **asked)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
