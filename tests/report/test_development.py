"""What a run folder tells a report."""

import json

import pytest
import torch

from dcvae.evaluation.distances import pixel_distance
from dcvae.models import DCVAE
from dcvae.pictures import png, sheet
from dcvae.presets import configure
from dcvae.report.development import development
from dcvae.snapshot import load_snapshot, save_snapshot
from dcvae.storage import open_storage

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path):
    """A run of 7 snapshots, the first three of 4 pixels; logs and samples at each."""
    run = open_storage(str(tmp_path / "run"))
    torch.manual_seed(0)
    lines = []
    for number in range(1, 8):
        model, images = DCVAE(configure("smoke")).eval(), 100 * number
        model.grow_to(4 if number < 4 else 8, 1.0)
        place = run.child("snapshots", f"{images:012d}")
        save_snapshot(place, model, images=images, dataset={})
        lines.append({"images": images, "resolution": model.resolution, "kl": 1.0, "fade": 1.0})
        run.write(f"samples/{images:012d}.png", png(sheet(torch.zeros(64, 1, 8, 8), 8, 64)))
    run.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    return run


def test_nothing_after_the_snapshot_is_told(run):
    inputs = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    last = run.child("snapshots", f"{500:012d}")
    told = development(last, 500, inputs, CPU)
    (kl,) = told.groups["Losses"]
    assert list(kl.x) == [100, 200, 300, 400, 500]
    assert kl.marks == [(100, "4 px"), (400, "8 px")]
    assert [(step.images, step.resolution) for step in told.steps][2:4] == [(300, 4), (400, 8)]


def test_snapshots_are_measured_at_full_resolution(run):
    inputs = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    last = run.child("snapshots", f"{700:012d}")
    run.write(f"snapshots/{200:012d}/model.safetensors", b"damaged")
    (curve,) = development(last, 700, inputs, CPU).groups["Measures"]
    assert list(curve.x) == [100, 300, 500, 600, 700]  # 6 of 7, one of them damaged
    with torch.no_grad():
        expected = pixel_distance(inputs, load_snapshot(last).reconstruct(inputs)).mean()
        small = load_snapshot(run.child("snapshots", f"{100:012d}"))
        quarters = inputs.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean(dim=(3, 5))
        outputs = small.reconstruct(quarters)
        enlarged = torch.nn.functional.interpolate(outputs, (8, 8), mode="bilinear")
    assert curve.y[-1] == pytest.approx(float(expected))
    assert curve.y[0] == pytest.approx(float(pixel_distance(inputs, enlarged).mean()), rel=1e-5)


def test_a_snapshot_outside_a_run_has_no_development(tmp_path):
    told = development(open_storage(str(tmp_path / "model")), 1, torch.zeros(1, 1, 8, 8), CPU)
    assert (told.groups, told.steps) == ({}, [])
