"""New images came: the champion is measured on them too, and the better model leads."""

import pytest
import torch

from dcvae.evaluation import evaluate
from dcvae.models import DCVAE
from dcvae.presets import configure as preset
from dcvae.promotion import measure_champion, register
from dcvae.registry import history
from dcvae.sharding.shard import shard
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage

PIXEL = {"pixel_distance": 255.0}


def snapshot_of(folder, grey: float) -> str:
    """A model that decodes everything to one grey: the nearer to the data's mean, the better."""
    torch.manual_seed(0)
    model = DCVAE(preset("smoke")).eval()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.zero_()
        for name, parameter in model.decoder.named_parameters():
            if "to_rgb" in name and name.endswith("bias"):
                parameter.fill_(grey)
    dataset = {"uri": "x", "name": "digits", "fingerprint": "a" * 64}
    save_snapshot(open_storage(str(folder)), model, images=192, dataset=dataset)
    return str(folder)


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """The digits in other shards, so with another fingerprint."""
    place = str(tmp_path_factory.mktemp("new"))
    shard("sklearn:digits", place, resolution=8, samples_per_shard=500)
    return place


def test_a_champion_of_older_data_is_measured_on_the_new_ones(digits, new, tmp_path):
    old = str(digits)
    registry = str(tmp_path / "registry")
    models = {"good": -0.5, "bad": 0.9, "best": -0.4}
    snapshots = {name: snapshot_of(tmp_path / name, grey) for name, grey in models.items()}

    def run(name: str, data: str, compare: bool):
        out = str(tmp_path / f"evaluation-{name}-{data == old}")
        evaluate(snapshots[name], data, out, protocol="held-out,samples=16,reference_images=16")
        return register(
            snapshots[name], out, registry, "digits", PIXEL, data=data if compare else None
        )

    assert run("good", old, compare=False).champion
    alone = run("bad", new, compare=False)
    assert not alone.champion
    assert "differ in dataset_fingerprint" in alone.reason
    compared = run("bad", new, compare=True)
    assert not compared.champion
    assert "worse than" in compared.reason
    best = run("best", new, compare=True)
    assert best.champion, best.reason
    assert "no worse than version 1" in best.reason
    assert [event.moved for event in history(registry, "digits")] == [True, False, False, True]


def test_what_is_measured_ahead_is_not_measured_in_registering(digits, new, tmp_path):
    old = str(digits)
    registry, first, second = (str(tmp_path / name) for name in ("registry", "first", "second"))
    good, best = snapshot_of(tmp_path / "good", -0.5), snapshot_of(tmp_path / "best", -0.4)
    evaluate(good, old, first, protocol="held-out,samples=16,reference_images=16")
    measure_champion(registry, "digits", first, old)  # there is none yet
    assert register(good, first, registry, "digits", PIXEL, data=old).champion
    measure_champion(registry, "digits", first, old)  # measured alike already
    kept = tmp_path / "registry" / "digits" / "comparisons"
    assert not kept.exists()

    evaluate(best, new, second, protocol="held-out,samples=16,reference_images=16")
    measure_champion(registry, "digits", second, new)
    (made,) = kept.iterdir()
    before = {file.name: file.stat().st_mtime_ns for file in made.iterdir()}
    assert register(best, second, registry, "digits", PIXEL, data=new).champion
    assert {file.name: file.stat().st_mtime_ns for file in made.iterdir()} == before
