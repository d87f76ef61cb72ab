"""An evaluation that is killed goes on where it was, and ends with the same figures."""

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from dcvae.evaluation import evaluate, passes

from .conftest import write_model

SMALL = "reference_images=80,reconstructions=80,samples=80,probe_images=80"
PROTOCOL = f"paper,{SMALL},perceptual=vgg16-hed"
BATCH = 16
HELD_OUT: Any = {"protocol": f"held-out,{SMALL}", "batch_size": BATCH}
PASSES = (
    "real images",
    "other real images",
    "reconstructions",
    "samples",
    "latents for the probe",
    "path length",
)


class Killed(BaseException):
    """Not an error that anybody catches: the process is gone."""


class Told:
    """Hears of progress, and ends it in the middle of a pass."""

    def __init__(self, end_in: str = "", after: int = 0) -> None:
        self.end_in, self.after = end_in, after
        self.began: dict[str, int] = {}

    def __call__(self, done: int, total: int | None, what: str) -> None:
        self.began.setdefault(what, done)
        if what == self.end_in and done >= self.after:
            raise Killed


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_model(tmp_path_factory.mktemp("model") / "snapshot")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, digits: str, model: str):
    """Evaluates into a folder; every batch is saved, and the path length is of pixels."""
    from dcvae.evaluation.perceptual import Perceptual

    def pixels(name: str, weights: str | None, device: str) -> Perceptual:
        zero = torch.zeros(3, 1, 1)
        return Perceptual(name, "0" * 64, torch.nn.Identity(), 1.0, zero, zero + 1, "cpu")

    monkeypatch.setattr("dcvae.evaluation.job.load_perceptual", pixels)
    monkeypatch.setattr(passes, "SAVE_SECONDS", 0.0)

    def run(out: Path, told: Told):
        how = {"protocol": PROTOCOL, "progress": told, "batch_size": BATCH}
        return evaluate(model, digits, str(out), **how)

    return run


def test_killed_in_every_pass_it_ends_with_equal_figures(measured, tmp_path) -> None:
    whole = Told()
    expected = measured(tmp_path / "whole", whole)
    assert [whole.began[name] for name in PASSES] == [0] * len(PASSES)
    out = tmp_path / "out"
    for what in PASSES:
        with pytest.raises(Killed):
            measured(out, Told(what, 48))
        assert not (out / "evaluation.json").exists()
    told = Told()
    found = measured(out, told)
    assert found.values() == expected.values()
    assert found.confusion == expected.confusion
    began = [told.began[name] for name in PASSES]
    assert began[:-1] == [80] * (len(PASSES) - 1), "a pass that was done is not done again"
    assert began[-1] == 32, "nor is what was saved of the one that was cut"
    assert not list(out.rglob("*.safetensors"))


def test_what_another_model_left_is_not_taken_up(measured, tmp_path, digits) -> None:
    out = tmp_path / "out"
    with pytest.raises(Killed):
        measured(out, Told("samples", 48))
    told = Told()
    other = write_model(tmp_path / "other", seed=1)
    how = {"protocol": PROTOCOL, "batch_size": BATCH}
    result = evaluate(other, digits, str(out), progress=told, **how)
    assert told.began["real images"] == 80, "which are the same for every model"
    assert told.began["reconstructions"] == told.began["samples"] == 0
    assert result.values() == evaluate(other, digits, str(tmp_path / "clean"), **how).values()


def run_and_die(snapshot: str, data: str, out: str) -> None:
    passes.SAVE_SECONDS = 0.0

    def tell(done: int, total: int | None, what: str) -> None:
        if what == "samples" and done >= 48:
            os.kill(os.getpid(), signal.SIGKILL)

    evaluate(snapshot, data, out, progress=tell, **HELD_OUT)


def test_a_real_kill_leaves_what_a_new_process_takes_up(model, digits, tmp_path) -> None:
    out = str(tmp_path / "out")
    child = multiprocessing.get_context("spawn").Process(
        target=run_and_die, args=(model, digits, out)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    told = Told()
    result = evaluate(model, digits, out, progress=told, **HELD_OUT)
    assert (told.began["reconstructions"], told.began["samples"]) == (80, 32)
    clean = evaluate(model, digits, str(tmp_path / "clean"), **HELD_OUT)
    assert result.values() == clean.values()


def test_two_evaluations_at_once_do_not_spoil_each_others_statistics(
    model, digits, tmp_path
) -> None:
    """The second begins and ends while the first is in its pass over the real images."""
    reference = str(tmp_path / "reference")

    class Nested(Told):
        def __call__(self, done: int, total: int | None, what: str) -> None:
            super().__call__(done, total, what)
            if what == "real images" and done == 48 and not hasattr(self, "inner"):
                self.inner = run("inner", Told())

    def run(out: str, told: Told):
        given = (model, digits, str(tmp_path / out), reference)
        return evaluate(*given, progress=told, **HELD_OUT)

    outer = Nested()
    result = run("outer", outer)
    alone = evaluate(model, digits, str(tmp_path / "alone"), **HELD_OUT)
    later = Told()
    assert result.values() == outer.inner.values() == alone.values()
    assert run("later", later).values() == alone.values()
    assert "real images" not in later.began
    assert len(list(Path(reference).rglob("*.safetensors"))) == 3
