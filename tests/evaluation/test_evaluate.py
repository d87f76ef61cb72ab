"""A whole evaluation: the real data, a real snapshot, and what stands in evaluation.json."""

import json
from pathlib import Path

import pytest
import torch

from dcvae.errors import UserError
from dcvae.evaluation import evaluate, read_evaluation
from dcvae.evaluation.selection import Selection
from dcvae.models import DCVAE
from dcvae.presets import configure
from dcvae.sharding.shard import shard
from dcvae.shards.manifest import load_manifest
from dcvae.snapshot import load_snapshot, save_snapshot
from dcvae.storage import open_storage

FD = "fd_efficientnet_lite0_sampling"


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> str:
    place = str(tmp_path_factory.mktemp("data") / "digits")
    shard("sklearn:digits", place, resolution=8)
    return place


def write_model(folder: Path, seed: int = 0, break_it: bool = False) -> str:
    torch.manual_seed(seed)
    model = DCVAE(configure("smoke")).eval()
    if break_it:
        with torch.no_grad():
            next(model.decoder.parameters()).fill_(float("nan"))
    dataset = {"uri": "s3://data/digits", "name": "digits", "fingerprint": "a" * 64}
    save_snapshot(open_storage(str(folder)), model, images=192, dataset=dataset)
    return str(folder)


@pytest.fixture(scope="module")
def evaluated(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    snapshot = write_model(folder / "run" / "snapshots" / "000000000192")
    lines = [
        {"images": i * 32, "resolution": 4 if i < 3 else 8, "fade": 1.0, "kl": 1 / (i + 1)}
        for i in range(6)
    ]
    run = open_storage(str(folder / "run"))
    run.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    calls = []
    out = str(folder / "out")
    result = evaluate(snapshot, digits, out, samples=100, progress=lambda *call: calls.append(call))
    return snapshot, out, result, calls


def test_every_number_says_its_protocol(evaluated, digits):
    _, out, result, _ = evaluated
    assert set(result.metrics) == {
        f"{distance}_efficientnet_lite0_{kind}"
        for distance in ("fd", "kd", "precision", "recall")
        for kind in ("sampling", "reconstruction")
    } | {"pixel_distance", "probe_error_mean", "probe_error_ci95"}
    distance = result.metrics[FD]
    assert distance.samples == distance.floor_samples == 100
    assert distance.extractor == "efficientnet-lite0"
    assert distance.extractor_sha256.startswith("57934424")
    assert 0 < distance.floor < distance.value
    assert result.protocol.split == "test"
    assert result.protocol.dataset_fingerprint == result.dataset.fingerprint
    assert not any("fid" in name for name in result.metrics)
    stored = json.loads(Path(out, "evaluation.json").read_text())
    assert stored["metrics"][FD]["value"] == distance.value
    assert read_evaluation(open_storage(out)) == result


def test_the_pixel_distance_is_of_the_reconstructions(evaluated, digits):
    snapshot, _, result, _ = evaluated
    storage = open_storage(digits)
    images = Selection(storage, load_manifest(storage), resolution=8, batch_size=1000)
    x = torch.cat([batch for batch, _ in images.choice("test", 100, seed=0)]).float()
    model = load_snapshot(open_storage(snapshot))
    with torch.no_grad():
        y = (model.reconstruct(x / 127.5 - 1) + 1) * 127.5
    expected = (x - y).pow(2).mean(dim=(1, 2, 3)).sqrt().mean()
    assert len(x) == 100
    assert result.metrics["pixel_distance"].value == pytest.approx(float(expected), rel=1e-4)


def test_a_choice_is_random_without_repetition_and_nested(digits):
    storage = open_storage(digits)
    images = Selection(storage, load_manifest(storage), resolution=8, batch_size=50)

    def chosen(count):
        batches = [batch for batch, _ in images.choice("test", count, seed=0)]
        return [bytes(image.numpy()) for image in torch.cat(batches)]

    small, large, whole = chosen(20), chosen(100), chosen(None)
    assert (len(small), len(large), len(whole)) == (20, 100, images.count("test", None))
    assert set(small) < set(large) < set(whole)
    assert [image for image in whole if image in set(large)] == large
    assert large != whole[:100]


def test_progress_reaches_its_end(evaluated):
    _, _, _, calls = evaluated
    for what, total in (
        ("reconstructions", 100),
        ("samples", 100),
        ("other real images", 100),
        ("latents for the probe", 1438),
    ):
        mine = [call[:2] for call in calls if call[2] == what]
        assert mine[0] == (0, total)
        assert mine[-1] == (total, total)


def test_the_same_again_is_the_stored_result(evaluated, digits):
    snapshot, out, result, _ = evaluated
    before = Path(out, "evaluation.json").stat().st_mtime_ns
    assert evaluate(snapshot, digits, out, samples=100) == result
    assert Path(out, "evaluation.json").stat().st_mtime_ns == before


def test_numbers_do_not_depend_on_the_batch(evaluated, digits, tmp_path):
    snapshot, _, result, _ = evaluated
    other = evaluate(snapshot, digits, str(tmp_path), samples=100, batch_size=37)
    for name, metric in other.metrics.items():
        assert metric.value == pytest.approx(result.metrics[name].value, rel=1e-3, abs=1e-3), name


def test_kept_features_of_real_images_give_the_same_numbers(evaluated, digits, tmp_path):
    snapshot, _, _, _ = evaluated
    kept, calls = str(tmp_path / "reference"), []

    def run(out):
        calls.clear()
        return evaluate(
            snapshot,
            digits,
            str(tmp_path / out),
            samples=16,
            reference=kept,
            progress=lambda *call: calls.append(call[2]),
        ).values()

    first = run("1")
    assert "other real images" in calls
    files = sorted(Path(kept).rglob("*.safetensors"))
    assert len(files) == 2  # the split's and the floor's
    assert run("2") == first
    assert "other real images" not in calls
    for file in files:
        file.write_bytes(b"not features")
    assert run("3") == first


def test_clamped_latents_are_another_protocol(evaluated, digits, tmp_path):
    snapshot, _, result, _ = evaluated
    clamped = evaluate(snapshot, digits, str(tmp_path), samples=100, latent_clamp=1.0)
    assert clamped.protocol.differences(result.protocol) == ["latent_clamp"]
    assert clamped.metrics[FD].value != result.metrics[FD].value


def test_confusions_are_counted_by_class(evaluated):
    _, _, result, _ = evaluated
    assert result.confusion.classes == [str(i) for i in range(10)]
    assert sum(map(sum, result.confusion.counts)) == 5 * 100


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"split": "validation"}, "no split validation"),
        ({"samples": 2}, "4 samples are the least"),
        ({"extractor": "vgg"}, "no extractor is named 'vgg'"),
        ({"perceptual": "alexnet"}, "no perceptual network is named 'alexnet'"),
    ],
)
def test_bad_requests_are_refused_before_work(evaluated, digits, tmp_path, settings, sentence):
    snapshot, _, _, _ = evaluated
    with pytest.raises(UserError, match=sentence):
        evaluate(snapshot, digits, str(tmp_path / "out"), **settings)
    assert not (tmp_path / "out").exists()


def test_a_diverged_model_is_refused(digits, tmp_path):
    snapshot = write_model(tmp_path / "s", break_it=True)
    with pytest.raises(UserError, match="not finite numbers"):
        evaluate(snapshot, digits, str(tmp_path / "out"), samples=8)
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_channels_is_refused(tmp_path):
    folder = tmp_path / "colour"
    rgb = torch.arange(12 * 3 * 8 * 8, dtype=torch.uint8).reshape(12, 8, 8, 3).numpy()
    from PIL import Image

    for i, pixels in enumerate(rgb):
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    shard(str(folder), str(tmp_path / "shards"), resolution=8, channels=3)
    with pytest.raises(UserError, match="1 channels"):
        evaluate(write_model(tmp_path / "s"), str(tmp_path / "shards"), str(tmp_path / "out"))
