"""A whole evaluation: the real data, a real snapshot, and what stands in evaluation.json."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dcvae.errors import UserError
from dcvae.evaluation import evaluate, read_evaluation
from dcvae.evaluation.passes import Normal
from dcvae.evaluation.real_images import RealImages
from dcvae.sharding.shard import shard
from dcvae.shards.manifest import load_manifest
from dcvae.snapshot import load_snapshot
from dcvae.storage import open_storage

from .conftest import write_model

FD = "fd_efficientnet_lite0_sampling"
HUNDRED = "held-out,samples=100,reference_images=100,reconstructions=100"
SIXTEEN = "held-out,samples=16,reference_images=16,reconstructions=16"


@pytest.fixture(scope="module")
def evaluated(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    snapshot = write_model(folder / "run" / "snapshots" / "000000000192")
    calls = []
    out = str(folder / "out")
    tell = lambda *call: calls.append(call)  # noqa: E731
    result = evaluate(snapshot, digits, out, protocol=HUNDRED, progress=tell)
    return snapshot, out, result, calls


def test_every_number_says_its_protocol(evaluated, digits):
    _, out, result, _ = evaluated
    assert set(result.metrics) == {
        f"{distance}_efficientnet_lite0_{kind}"
        for distance in ("fd", "kd", "precision", "recall")
        for kind in ("sampling", "reconstruction")
    } | {"pixel_distance", "probe_error_mean", "probe_error_ci95"}
    distance = result.metrics[FD]
    assert distance.samples == distance.real_images == distance.floor_samples == 100
    assert distance.extractor == "efficientnet-lite0"
    assert distance.extractor_sha256.startswith("57934424")
    assert 0 < distance.floor < distance.value
    assert result.protocol.label == (
        "held-out v1, reference_images=100, reconstructions=100, samples=100"
    )
    assert result.dataset.fingerprint == load_manifest(open_storage(digits)).fingerprint
    assert not any("fid" in name for name in result.metrics)
    assert result.left_out == {}
    stored = json.loads(Path(out, "evaluation.json").read_text())
    assert stored["metrics"][FD]["value"] == distance.value
    assert stored["protocol"]["version"] == 1
    assert read_evaluation(open_storage(out)) == result


def test_train_statistics_with_test_reconstructions(evaluated, digits, tmp_path):
    snapshot, _, held_out, _ = evaluated
    result = evaluate(snapshot, digits, str(tmp_path), protocol="paper,samples=400")
    assert result.protocol.changes == {"samples": 400}
    sampling, reconstruction = (
        result.metrics[f"fd_efficientnet_lite0_{kind}"] for kind in ("sampling", "reconstruction")
    )
    assert (sampling.samples, sampling.real_images, sampling.split) == (400, 1438, "train")
    assert (reconstruction.samples, reconstruction.real_images) == (359, 1438)
    assert sampling.floor_samples == 359, "the test images against the training images"
    assert result.metrics["pixel_distance"].split == "test"
    assert result.metrics["pixel_distance"].samples == 359
    assert "a sample of q(z|x)" in result.metrics["pixel_distance"].definition
    assert set(result.differences(held_out)) > {"protocol", "latent", "reference_split"}
    expected = error_of_components(digits, load_snapshot(open_storage(snapshot), "cpu"))
    assert result.metrics["probe_error_mean"].components == pytest.approx(expected, abs=0.03)
    assert result.metrics["pixel_distance"].components is None
    assert any(f"principal components {expected:.1f}"[:-1] in line for line in result.lines())


def error_of_components(digits, model):
    """scikit-learn's own answer, from all training images instead of five times 80 % of them."""
    images = RealImages(open_storage(digits), load_manifest(open_storage(digits)), 8, 64)
    pixels, labels = {}, {}
    for split in ("train", "test"):
        drawn = list(images.drawn(split, None, 0))
        pixels[split] = torch.cat([batch.images.flatten(1) for batch in drawn]).double().numpy()
        labels[split] = torch.cat([batch.labels for batch in drawn]).numpy()
    judge = make_pipeline(
        PCA(model.config.model.latent_dim), StandardScaler(), LogisticRegression(max_iter=1000)
    ).fit(pixels["train"], labels["train"])
    return 1 - judge.score(pixels["test"], labels["test"])


def test_the_pixel_distance_is_of_the_reconstructions(evaluated, digits, tmp_path):
    snapshot, _, result, _ = evaluated
    storage = open_storage(digits)
    images = RealImages(storage, load_manifest(storage), resolution=8, batch_size=1000)
    x = torch.cat([batch.images for batch in images.drawn("test", 100, seed=0)]).float()
    x = x / 127.5 - 1
    model = load_snapshot(open_storage(snapshot))
    with torch.no_grad():
        mu, logvar = model.encode(x)
        noise = Normal(mu.shape[1], seed=1 << 32).take(100)
        for latent, z in (("mean", mu), ("sampled", mu + (logvar / 2).exp() * noise)):
            y = model.decode(z)
            expected = 127.5 * (x - y).pow(2).mean(dim=(1, 2, 3)).sqrt().mean()
            if latent == "sampled":
                changed = f"{HUNDRED},latent=sampled"
                result = evaluate(snapshot, digits, str(tmp_path), protocol=changed)
            found = result.metrics["pixel_distance"].value
            assert found == pytest.approx(float(expected), rel=1e-4)
    assert len(x) == 100


def test_a_choice_is_random_without_repetition_and_nested(digits):
    storage = open_storage(digits)
    images = RealImages(storage, load_manifest(storage), resolution=8, batch_size=50)

    def chosen(count, **how):
        batches = list(images.drawn("test", count, seed=0, **how))
        pixels = [bytes(image.numpy()) for image in torch.cat([b.images for b in batches])]
        return pixels, torch.cat([batch.kept for batch in batches]).tolist()

    (small, _), (large, kept), (whole, _) = chosen(20), chosen(100, keep=20), chosen(None)
    assert (len(small), len(large), len(whole)) == (20, 100, images.count("test", None))
    assert set(small) < set(large) < set(whole)
    assert [image for image in whole if image in set(large)] == large
    assert large != whole[:100]
    assert [image for image, it_is in zip(large, kept, strict=True) if it_is] == small
    assert chosen(100, skip=50)[0] == large[50:]


def test_progress_reaches_its_end(evaluated):
    _, _, _, calls = evaluated
    for what, total in (
        ("real images", 100),
        ("other real images", 100),
        ("reconstructions", 100),
        ("samples", 100),
        ("distances", 12),
        ("latents for the probe", 1438),
    ):
        mine = [call[:2] for call in calls if call[2] == what]
        assert mine[0] == (0, total)
        assert mine[-1] == (total, total)


def test_the_same_again_is_the_stored_result(evaluated, digits):
    snapshot, out, result, _ = evaluated
    before = Path(out, "evaluation.json").stat().st_mtime_ns
    assert evaluate(snapshot, digits, out, protocol=HUNDRED) == result
    assert Path(out, "evaluation.json").stat().st_mtime_ns == before
    assert not list(Path(out).rglob("*.safetensors")), "what passes kept is gone"


def test_a_result_of_another_format_is_measured_again(evaluated, digits, tmp_path):
    snapshot, _, _, _ = evaluated
    (tmp_path / "evaluation.json").write_text('{"format_version": 1}')
    result = evaluate(snapshot, digits, str(tmp_path), protocol=SIXTEEN)
    assert read_evaluation(open_storage(str(tmp_path))) == result


def test_numbers_do_not_depend_on_the_batch(evaluated, digits, tmp_path):
    snapshot, _, result, _ = evaluated
    other = evaluate(snapshot, digits, str(tmp_path), protocol=HUNDRED, batch_size=37)
    for name, metric in other.metrics.items():
        assert metric.value == pytest.approx(result.metrics[name].value, rel=1e-3, abs=1e-3), name


REAL_ALONE = {"real images", "other real images", "linear probe of principal components"}


def test_what_is_kept_of_real_images_gives_the_same_numbers(evaluated, digits, tmp_path):
    snapshot, _, _, _ = evaluated
    kept, calls = str(tmp_path / "reference"), []

    def run(out):
        calls.clear()
        return evaluate(
            snapshot,
            digits,
            str(tmp_path / out),
            protocol=SIXTEEN,
            reference=kept,
            progress=lambda *call: calls.append(call[2]),
        ).metrics

    first = run("1")
    assert set(calls) >= REAL_ALONE
    files = sorted(Path(kept).rglob("*.safetensors"))
    assert len(files) == len(REAL_ALONE)  # the split's, the floor's and the components'
    assert run("2") == first
    assert not REAL_ALONE & set(calls)
    files[0].write_bytes(b"no tensors")
    for file in files[1:]:
        damaged = bytearray(file.read_bytes())
        damaged[-3] ^= 1
        file.write_bytes(damaged)
    assert run("3") == first
    assert set(calls) >= REAL_ALONE, "all are made again"


def test_clamped_latents_are_another_protocol(evaluated, digits, tmp_path):
    snapshot, _, result, _ = evaluated
    clamped = evaluate(snapshot, digits, str(tmp_path), protocol=f"{HUNDRED},latent_clamp=1")
    assert clamped.protocol.differences(result.protocol) == ["latent_clamp"]
    assert clamped.metrics[FD].value != result.metrics[FD].value


def test_confusions_are_counted_by_class(evaluated):
    _, _, result, _ = evaluated
    assert result.confusion.classes == [str(i) for i in range(10)]
    assert sum(map(sum, result.confusion.counts)) == 5 * 100


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"protocol": "held-out,reference_split=validation"}, "no images in it: cut the images"),
        ({"device": "tpu"}, "no device 'tpu' on this machine"),
        ({"device": "meta"}, "no device 'meta'"),
        ({"select_by": "beauty"}, "cannot be compared by 'beauty'; use one of: frechet_sampling"),
        ({"last": 0}, "give 1 or more"),
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
        evaluate(snapshot, digits, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_channels_is_refused(tmp_path):
    folder = tmp_path / "colour"
    folder.mkdir()
    rgb = torch.arange(12 * 3 * 8 * 8, dtype=torch.uint8).reshape(12, 8, 8, 3).numpy()
    for i, pixels in enumerate(rgb):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    shard(str(folder), str(tmp_path / "shards"), resolution=8, channels=3)
    with pytest.raises(UserError, match="1 channels"):
        evaluate(write_model(tmp_path / "s"), str(tmp_path / "shards"), str(tmp_path / "out"))
