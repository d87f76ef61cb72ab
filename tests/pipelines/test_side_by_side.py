"""Models side by side: really trained and evaluated, and the page says what was measured."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from PIL import Image

from dcvae.evaluation.results import read_evaluation
from dcvae.presets import configure
from dcvae.report.charts import number
from dcvae.storage import open_storage
from pipelines.command_line import main

ROOT = Path(__file__).parent.parent.parent


def run(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The two methods of tests/pipelines/pair.py, run in the folder ``where``."""
    return subprocess.run(
        [sys.executable, "-m", "tests.pipelines.pair", "--local", *arguments],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.timeout(600)
def test_two_methods_are_trained_evaluated_and_compared(tmp_path: Path) -> None:
    for seed in range(64):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{seed}.png")
    done = run(tmp_path, "--set", f"storage={tmp_path / 'storage'}")
    assert done.returncode == 0, done.stdout
    titles = [line for line in done.stdout.splitlines() if re.match(r"(Train|Evaluate) \w+$", line)]
    assert sorted(titles) == ["Evaluate dcvae", "Evaluate vae", "Train dcvae", "Train vae"]
    assert done.stdout.count("sharding images: 64 of 64") == 1, "one shard set for both"

    evaluations = {}
    for folder in (tmp_path / "storage" / "evaluations").iterdir():
        found = read_evaluation(open_storage(str(folder)))
        evaluations[found.snapshot.method] = found
    assert evaluations.keys() == {"vae", "dcvae"}
    assert evaluations["vae"].values() != evaluations["dcvae"].values()

    (place,) = (tmp_path / "storage" / "comparisons").iterdir()
    table = json.loads((place / "comparison.json").read_text())
    assert table.keys() == evaluations["vae"].metrics.keys()
    for metric, row in table.items():
        assert list(row) == ["dcvae", "vae"], "in the pipeline's order"
        assert row == {label: evaluations[label].values()[metric] for label in row}

    page = (tmp_path / "demo" / "pair" / "comparison.html").read_text()
    assert page == (place / "comparison.html").read_text()
    assert page.index(">dcvae</th>") < page.index(">vae</th>")
    for label in ("vae", "dcvae"):
        assert number(evaluations[label].values()["pixel_distance"]) in page
        assert f"A grid of images made from random latents by {label}." in page


@pytest.mark.parametrize("form", ["full", "small"])
@pytest.mark.parametrize("name", ["ablation", "negatives", "mnist"])
def test_every_model_of_a_form_can_be_trained_and_differs_where_the_page_says(
    name: str, form: str
) -> None:
    module = import_module(f"pipelines.{name}")
    root = getattr(module, name).pipeline_spec.root
    declared = root.input_definitions.parameters
    values = {key: MessageToDict(each.default_value) for key, each in declared.items()}
    if form == "small":
        assert {type(values[key]) for key in module.SMALL} <= {str, float, list}
        values |= module.SMALL

    def given(task: Any, key: str) -> str:
        said = task.inputs.parameters[key]
        constant = said.runtime_value.constant.string_value
        return str(constant or values[said.component_input_parameter])

    tasks = root.dag.tasks.values()
    trainings = [each for each in tasks if each.component_ref.name.startswith("comp-train")]
    (compared,) = [each for each in tasks if each.component_ref.name == "comp-compare"]
    section, _, key = given(compared, "varied").partition(".")
    labels = set()
    for task in trainings:
        settings = [*values["settings"], given(task, "variant")]
        config = configure(given(task, "preset"), [each for each in settings if each])
        assert given(task, "preset") == values["preset"]
        config.check_ranks(int(values["ranks"]))
        labels.add(config.model_dump()[section][key])
    assert len(labels) == len(trainings) >= 3


def test_a_small_form_is_for_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    ablation = import_module("pipelines.ablation")
    with pytest.raises(SystemExit) as ended:
        main(ablation.ablation, ["--compile", "--small"], ablation.SMALL)
    assert ended.value.code == 2
    assert "use it with --local" in capsys.readouterr().err
