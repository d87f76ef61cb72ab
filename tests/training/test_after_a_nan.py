"""What is said when a term becomes NaN is done as it is said, and the run ends well."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kfp.dsl import Model

import dcvae.launch  # noqa: F401
from components.train import train as train_step
from dcvae.cli import main
from dcvae.training.step import TrainingStep
from tests.launch.here import HereRanks

STEP = TrainingStep.__call__
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def train(
    digits: Path,
    here_ranks: type[HereRanks],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs ``dcvae train`` into a folder with settings; its exit code and what it said."""
    # dcvae.launch has a function of this name: only by the table of modules is it found.
    monkeypatch.setattr(sys.modules["dcvae.launch.train"], "LocalRanks", here_ranks)

    def run(out: Path, *settings: str) -> tuple[int, str]:
        words = ["train", "--preset", "smoke", "--data", str(digits), "--out", str(out), *settings]
        with pytest.raises(SystemExit) as ended:
            main([*words, "--nproc", "1"])
        return int(str(ended.value.code)), capsys.readouterr().err

    return run


@pytest.fixture(params=[16, 128], ids=["before a checkpoint", "after one"])
def breaks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The preset's own training has a NaN from so many images on; any other has none."""

    def step(self: TrainingStep, batches: Any, images: int) -> dict[str, torch.Tensor]:
        terms = STEP(self, batches, images)
        training = self.config.training
        if (training.learning_rate, training.seed) == (1e-3, 0) and images >= request.param:
            terms = {**terms, "kl": torch.tensor(float("nan"))}
        return terms

    monkeypatch.setattr(TrainingStep, "__call__", step)
    return int(request.param)


@pytest.mark.parametrize("way", ["learning_rate", "seed"])
def test_the_advice_works_word_for_word(
    train: Command, breaks: int, tmp_path: Path, way: str
) -> None:
    code, said = train(tmp_path)
    assert code == 1
    assert "the loss term kl became NaN on rank 0 after " in said
    (option,) = re.findall(rf"--set (training\.{way}=[^ ,]+)", said)
    goes_on = "goes on from the checkpoint after " in said
    assert goes_on == (breaks == 128)
    assert ("a pipeline with it begins again" in said) == goes_on
    assert ("begins again, as there is no checkpoint yet" in said) == (breaks == 16)

    assert train(tmp_path)[0] == 1, "unchanged, it breaks again"
    code, said = train(tmp_path, "--set", option)
    assert code == 0, said
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["config"]["training"][way] == json.loads(option.partition("=")[2])
    (change,) = saved["changes"]
    before = {"learning_rate": 1e-3, "seed": 0}[way]
    assert change["settings"] == {f"training.{way}": [before, saved["config"]["training"][way]]}
    assert change["because"]["checkpoint"] == (128 if breaks == 128 else None)
    assert not (tmp_path / "broken.json").exists()
    assert json.loads((tmp_path / "result.json").read_text())["images"] == 192
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["images"] for line in lines] == list(range(32, 193, 32))
    assert train(tmp_path, "--set", option)[0] == 0, "finished is finished"


@pytest.mark.parametrize("breaks", [128], indirect=True)
def test_a_pipeline_with_it_begins_again(
    digits: Path, here_ranks: type[HereRanks], breaks: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys.modules["dcvae.launch.train"], "LocalRanks", here_ranks)

    def step(settings: list[str]) -> str:
        told = Model(uri=str(tmp_path / "model"))
        given = {"data": str(digits), "storage": str(tmp_path), "ranks": 1, "model": told}
        return str(train_step.python_func(preset="smoke", settings=settings, **given))

    with pytest.raises(SystemExit) as ended:
        step([])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    (option,) = re.findall(r"--set (training\.seed=[^ ,]+)", said)
    assert "a pipeline with it begins again, as there each configuration has a run folder" in said
    snapshot = step([option])
    assert len(list((tmp_path / "runs").iterdir())) == 2
    lines = (Path(snapshot).parent.parent / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["images"] == 32, "from the first image on"


def test_only_a_remedy_of_a_broken_run_is_taken(
    train: Command, breaks: int, tmp_path: Path
) -> None:
    if breaks == 16:
        code, said = train(tmp_path / "well", "--set", "training.seed=5")
        assert code == 0, said
        code, said = train(tmp_path / "well", "--set", "training.seed=6")
        assert code == 2
        assert "run of another configuration" in said
    assert train(tmp_path)[0] == 1
    code, said = train(tmp_path, "--set", "model.latent_dim=4")
    assert code == 2
    assert "holds a run of another configuration (model.latent_dim)" in said
