"""The best of a run's last snapshots is found on few images, and only it is measured in full."""

import shutil
from pathlib import Path

import pytest
import torch

from dcvae.errors import UserError
from dcvae.evaluation import evaluate
from dcvae.evaluation.best import candidates
from dcvae.evaluation.names import SELECTABLE_BY
from dcvae.models import DCVAE
from dcvae.presets import PRESETS, configure
from dcvae.report import write_report
from dcvae.sharding.shard import shard
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage
from tests.painted import Painted

PROTOCOL = "held-out,samples=60,reference_images=60,reconstructions=60"
GREYS = {96: 0.9, 128: -0.45, 160: 0.4, 192: 0.8}
"""What each snapshot decodes everything to; digits are mostly black, -1, with a mean of -0.39."""


def save(run: Path, images: int, grey: float, resolution: int = 8, fade: float = 1.0) -> None:
    torch.manual_seed(0)
    model = DCVAE(configure("smoke")).eval()
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            parameter.fill_(grey if "to_rgb" in name and name.endswith("bias") else 0)
    model.grow_to(resolution, fade)
    place = open_storage(str(run / "snapshots" / f"{images:012d}"))
    dataset = {"uri": "x", "name": "digits", "fingerprint": "a" * 64}
    save_snapshot(place, model, images=images, dataset=dataset)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save(folder, 32, -0.45, resolution=4)
    save(folder, 64, -0.45, fade=0.5)
    for images, grey in GREYS.items():
        save(folder, images, grey)
    return folder


def images_of(found: list) -> list[int]:
    return [int(place.uri.rpartition("/")[2]) for place in found]


def test_candidates_are_the_last_of_the_final_size(run):
    final = str(run / "snapshots" / "000000000192")
    assert images_of(candidates(str(run), 5)) == [96, 128, 160, 192]
    assert images_of(candidates(str(run), 2)) == [160, 192]
    assert images_of(candidates(final, 3)) == [128, 160, 192]
    assert images_of(candidates(final, 1)) == images_of(candidates(str(run), 1)) == [192]
    assert images_of(candidates(str(run / "snapshots" / "000000000128"), 5)) == [96, 128]
    with pytest.raises(UserError, match="is not a snapshot"):
        evaluate(str(run / "nothing"), "data", "out")


def test_the_best_is_measured_in_full_and_the_rest_is_told(run, digits, tmp_path):
    told = []
    out = tmp_path / "out"
    how = {"protocol": PROTOCOL, "last": 5, "select_by": "pixel_distance"}

    def again():
        told.clear()
        tell = lambda done, total, what: told.append(what)  # noqa: E731
        return evaluate(str(run), digits, str(out), None, write_report, progress=tell, **how)

    result = again()
    assert result.snapshot.images == result.selection.chosen == 128
    assert result.snapshot.uri.endswith("/000000000128")
    assert result.selection.by == "pixel_distance"
    found = {each.images: each.value for each in result.selection.candidates}
    assert list(found) == list(GREYS)
    assert min(found, key=found.get) == 128
    assert found[128] == result.metrics["pixel_distance"].value
    assert {"snapshot 96: reconstructions", "samples"} <= set(told)
    assert not any(what.endswith(": samples") for what in told), "not needed for that metric"
    page = (out / "report.html").read_text()
    assert "Which snapshot" in page
    assert page.count(">measured in full<") == 1
    assert "pixel_distance" in page

    assert again() == result
    assert told == []
    (out / "evaluation.json").unlink()
    assert again().values() == result.values()
    assert not any(what.startswith("snapshot") for what in told), "each figure is kept"
    how["select_by"] = "frechet_sampling"
    other = again()
    assert other.selection.by == "frechet_sampling"
    assert len({each.value for each in other.selection.candidates}) == 4


def test_a_snapshot_that_has_diverged_is_passed_over(run, digits, tmp_path):
    for images in (128, 160):
        save(tmp_path / "run", images, GREYS[images])
    save(tmp_path / "run", 192, float("nan"))
    how = {"protocol": PROTOCOL, "last": 3, "select_by": "pixel_distance"}
    result = evaluate(str(tmp_path / "run"), digits, str(tmp_path / "out"), **how)
    assert result.selection.chosen == 128
    assert result.selection.candidates[-1].value is None
    assert "diverged" in result.selection.candidates[-1].problem
    for images in (128, 160):
        save(tmp_path / "lost", images, float("nan"))
    with pytest.raises(UserError, match="none of the last 2 snapshots can be measured by pixel"):
        evaluate(str(tmp_path / "lost"), digits, str(tmp_path / "nothing"), **how)


def test_a_damaged_snapshot_is_passed_over_and_a_lost_shard_is_not(digits, tmp_path):
    for images in (128, 160):
        save(tmp_path / "run", images, GREYS[images])
    weights = tmp_path / "run" / "snapshots" / "000000000128" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    how = {"protocol": PROTOCOL, "last": 2, "select_by": "pixel_distance"}
    result = evaluate(str(tmp_path / "run"), digits, str(tmp_path / "out"), **how)
    assert result.selection.chosen == 160
    assert "is damaged: its sha256 is" in result.selection.candidates[0].problem

    data = tmp_path / "data"
    shutil.copytree(digits, data)
    for shard_file in (data / "test" / "r8").iterdir():
        shard_file.rename(shard_file.with_suffix(".gone"))
    with pytest.raises(UserError, match=r"shard-000000\.tar"):
        evaluate(str(tmp_path / "run"), str(data), str(tmp_path / "again"), **how)
    for shard_file in (data / "test" / "r8").iterdir():
        shard_file.rename(shard_file.with_suffix(".tar"))
    again = evaluate(str(tmp_path / "run"), str(data), str(tmp_path / "again"), **how)
    assert again.selection == result.selection, "nothing of the outage was kept"


@pytest.mark.parametrize("by", SELECTABLE_BY)
def test_every_metric_finds_one(run, digits, tmp_path, by):
    how = {"protocol": PROTOCOL, "last": 2, "select_by": by}
    result = evaluate(str(run), digits, str(tmp_path), **how)
    figures = [each.value for each in result.selection.candidates]
    assert len(figures) == 2
    best = min(result.selection.candidates, key=lambda each: each.value)
    assert result.selection.chosen == best.images


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_leaves_five_snapshots_to_choose_from(name):
    """In the last phase at full weight, where all have the final size."""
    training = PRESETS[name].training
    last = training.phases[-1]
    begin = training.total_images - last.images
    every = training.snapshot_images
    multiples = {n * every for n in range(1, training.total_images // every + 1)}
    found = {n for n in multiples | {training.total_images} if n >= begin}
    assert len(found) >= (3 if name == "smoke" else 5)
    assert training.total_images // every <= 80, "nor fills the bucket with them"


def test_figures_of_other_images_are_not_taken_up(run, digits, tmp_path):
    other, out = str(tmp_path / "other"), str(tmp_path / "out")
    shard(Painted(400), other, resolution=8, channels=1)
    how = {"protocol": PROTOCOL, "last": 2, "select_by": "pixel_distance"}
    before = evaluate(str(run), str(digits), out, **how)
    after = evaluate(str(run), other, out, **how)
    assert after.selection == evaluate(str(run), other, str(tmp_path / "alone"), **how).selection
    assert after.selection != before.selection
