"""Sets as people really have them: one class, no labels, a few images, nothing held out."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcvae.config import Config
from dcvae.errors import UserError
from dcvae.evaluation import check_ahead, evaluate
from dcvae.evaluation.ahead import unmeasurable
from dcvae.evaluation.names import measurable
from dcvae.evaluation.protocol import read_protocol
from dcvae.presets import configure
from dcvae.report import write_report
from dcvae.sharding.shard import shard
from dcvae.sharding.sources import Item
from dcvae.shards.manifest import Manifest, load_manifest
from dcvae.storage import open_storage
from tests.painted import Painted

from .conftest import write_model

FRECHET = {f"fd_efficientnet_lite0_{kind}" for kind in ("sampling", "reconstruction")}
KERNEL = {name.replace("fd_", "kd_") for name in FRECHET}
BALLS = {
    f"{name}_efficientnet_lite0_{kind}"
    for name in ("precision", "recall")
    for kind in ("sampling", "reconstruction")
}
PROBE = {"probe_error_mean", "probe_error_ci95"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_model(tmp_path_factory.mktemp("model") / "snapshot")


def pictures(folder: Path, count: int, inside: str = "", held_out: float = 0.1) -> str:
    """A shard set of ``count`` grey pictures, all in one folder, or in one below it."""
    place = folder / "images" / inside
    place.mkdir(parents=True)
    rng = np.random.default_rng(count)
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(place / f"{i}.png")
    data = str(folder / "data")
    shard(str(folder / "images"), data, resolution=8, channels=1, test=held_out)
    return data


def ahead(text: str, config: Config, manifest: Manifest, weights: str = "", maxima=()) -> None:
    asked = read_protocol(text, config, weights)
    check_ahead(asked, config, manifest, weights=weights, maxima=maxima)


def manifest_of(data: str) -> Manifest:
    return load_manifest(open_storage(data))


def held(data: str) -> int:
    manifest = manifest_of(data)
    return manifest.samples("test") if "test" in manifest.splits else 0


class Faces(Painted):
    """Labelled images that are all of one class."""

    def __init__(self) -> None:
        super().__init__(40, channels=1)
        self.classes = ["face"]

    def items(self, split: str) -> Iterator[Item]:
        return (item._replace(label=0) for item in super().items(split))


@pytest.mark.parametrize("inside", ["one class", "one_folder", ""])
def test_images_of_one_class_or_of_none_are_measured_without_a_probe(model, tmp_path, inside):
    data, out = str(tmp_path / "data"), str(tmp_path / "out")
    if inside == "one class":
        shard(Faces(), data, resolution=8)
    else:
        pictures(tmp_path, 60, inside, held_out=20)
    result = evaluate(model, data, out, present=write_report)
    assert set(result.metrics) == {*FRECHET, *KERNEL, *BALLS, "pixel_distance"}
    assert set(result.left_out) == PROBE
    page = (tmp_path / "out" / "report.html").read_text()
    for reason in result.left_out.values():
        one = inside == "one class" or bool(manifest_of(data).classes)
        assert reason == ("all images are of one class" if one else "the images have no labels")
        assert f"<dd>{reason}</dd>" in page
    assert evaluate(model, data, out, present=write_report) == result
    assert any(line.startswith("left out: probe_error_mean") for line in result.lines())


@pytest.mark.parametrize("count", [2, 3, 5, 30])
def test_a_few_images_are_measured_as_far_as_they_go(model, tmp_path, count):
    data = pictures(tmp_path, count)
    test = held(data)
    for protocol in ("held-out", "paper,samples=40"):
        if not test and protocol == "held-out":
            continue
        out = tmp_path / protocol
        result = evaluate(model, data, str(out), protocol=protocol, present=write_report)
        asked = result.protocol
        expected = set(measurable(asked.extractor)) - set(unmeasurable(asked, manifest_of(data)))
        assert set(result.metrics) == expected, "what was said ahead"
        missing = {*FRECHET, *KERNEL, *BALLS, "pixel_distance"} - expected
        assert missing <= set(result.left_out)
        assert all(reason for reason in result.left_out.values())
        assert (out / "report.html").stat().st_size > 5000
        if test and protocol != "held-out":
            assert "pixel_distance" in result.metrics


@pytest.mark.parametrize(("count", "by"), [(2, "frechet_sampling"), (12, "pixel_distance")])
def test_a_run_whose_snapshots_no_image_can_compare_is_measured_at_its_end(tmp_path, count, by):
    for images in (160, 192):
        write_model(tmp_path / "run" / "snapshots" / f"{images:012d}", images=images, seed=images)
    data = pictures(tmp_path, count, held_out=1 if count == 2 else 0)
    protocol = "paper,samples=40" if count == 12 else "held-out"
    out = str(tmp_path / "out")
    how = {"present": write_report, "protocol": protocol, "last": 5, "select_by": by}
    result = evaluate(str(tmp_path / "run"), data, out, **how)
    assert result.snapshot.images == 192
    assert result.selection is None
    reason = result.left_out[f"the best of the last 2 snapshots by {by}"]
    assert re.fullmatch(r"it takes \d images or more in each set, and there are [01]", reason)
    assert f"<dd>{reason}</dd>" in (tmp_path / "out" / "report.html").read_text()
    assert evaluate(str(tmp_path / "run"), data, out, **how) == result


def test_without_held_out_images_reconstructions_are_left_out_by_the_papers_protocol(
    model, tmp_path
):
    data = pictures(tmp_path, 12, held_out=0)
    result = evaluate(
        model, data, str(tmp_path / "out"), protocol="paper,samples=9", present=write_report
    )
    assert {name for name in result.metrics if name.endswith("sampling")} == {
        name for name in (*FRECHET, *KERNEL, *BALLS) if name.endswith("sampling")
    }
    assert "which would be reconstructed" in result.left_out["pixel_distance"]
    assert "no images besides" in result.left_out["the same distances of other real images"]
    assert result.metrics["fd_efficientnet_lite0_sampling"].floor is None


def test_what_would_be_impossible_is_refused_before_a_training(tmp_path, digits):
    config = configure("smoke")
    none_held_out = manifest_of(pictures(tmp_path / "a", 12, held_out=0))
    one_class = shard(Faces(), str(tmp_path / "b"), resolution=8)
    labelled = manifest_of(digits)
    with pytest.raises(UserError, match="no images in it: cut the images with some held out"):
        ahead("held-out", config, none_held_out)
    ahead("paper", config, none_held_out)
    ahead("", config, labelled, maxima=["probe_error_mean", "pixel_distance"])
    for manifest, maximum, sentence in (
        (one_class, "probe_error_mean", "all images are of one class"),
        (one_class, "fid_sampling", "held-out v1 does not measure"),
        (none_held_out, "pixel_distance", "takes 1 images or more"),
    ):
        text = "paper" if manifest is none_held_out else "held-out"
        with pytest.raises(UserError, match=sentence):
            ahead(text, config, manifest, maxima=[maximum])
    with pytest.raises(UserError, match=r"needs the file weights-inception-2015-12-05"):
        ahead("paper", config, labelled, weights=str(tmp_path / "inception.pth"))
    with pytest.raises(UserError, match=r"needs torchvision's file vgg16-397923af"):
        ahead("held-out,perceptual=vgg16", config, labelled)
    vgg16 = read_protocol("held-out,perceptual=vgg16", config)
    place = str(tmp_path / "vgg16.pth")
    with pytest.raises(UserError, match=rf"no weights at {place}: the perceptual network vgg16"):
        check_ahead(vgg16, config, labelled, perceptual_weights=place)
    Path(place).write_bytes(b"there")
    check_ahead(vgg16, config, labelled, perceptual_weights=place)
    with pytest.raises(UserError, match="images of 3 channels"):
        ahead("held-out", configure("cifar10"), labelled)


def test_what_is_known_ahead_names_only_what_can_be_measured(digits):
    manifest = manifest_of(digits)
    for text in ("paper", "held-out", "paper,extractor=inception-v3"):
        assert unmeasurable(read_protocol(text), manifest) == {}
    assert (
        set(unmeasurable(read_protocol("held-out,reconstructed_split=validation"), manifest))
        >= PROBE
    )
