"""A data set that grows while a run is stopped: the run goes on with what it began with."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from dcvae.errors import UserError
from dcvae.launch.train import check, train
from dcvae.messages import Progress
from dcvae.places import run_uri
from dcvae.presets import configure
from dcvae.sharding.shard import shard
from dcvae.shards.manifest import Manifest, load_manifest
from dcvae.storage import open_storage
from tests.training.pool import Pool
from tests.training.runs import final_tensors, train_here

SETTINGS = ["model.channels=3", "training.checkpoint_images=64"]


def make_images(source: Path, data: Path, count: int) -> Manifest:
    source.mkdir(exist_ok=True)
    for n in range(count):
        picture = Image.linear_gradient("L").resize((8, 8)).rotate(37 * n)
        Image.merge(
            "RGB", [picture.point(lambda v, k=k: (v + k) % 256) for k in (0, n, 3 * n)]
        ).save(source / f"{n:03d}.png")
    return shard(str(source), str(data), resolution=8, samples_per_shard=16)


class OneOf:
    """One rank of the pool, for the launcher."""

    nproc = 1

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def run(self, arguments: Sequence[str], show: Callable[[Progress], None]) -> None:
        given = dict(zip(arguments[1::2], arguments[2::2], strict=True))
        assert self.pool.run(1, train_here, SETTINGS, given["--data"], given["--out"]) == [False]


def test_a_resumed_run_keeps_to_the_version_it_began_with(
    pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, data, run = tmp_path / "images", tmp_path / "data", tmp_path / "run"
    first = make_images(source, data, 40)
    assert pool.run(1, train_here, SETTINGS, str(data), str(tmp_path / "undisturbed")) == [False]
    assert pool.run(1, train_here, SETTINGS, str(data), str(run), True) == [True]
    second = make_images(source, data, 60)
    assert second.grown_from == first.fingerprint

    with caplog.at_level(logging.WARNING):
        train(configure("smoke", SETTINGS), str(data), str(run), ranks=OneOf(pool))
    (said,) = [message for message in caplog.messages if "has grown since" in message]
    assert f"keeps to version {first.fingerprint[:8]}" in said
    result = open_storage(str(run)).read_json("result.json")
    assert result["dataset_fingerprint"] == first.fingerprint
    assert final_tensors(run) == final_tensors(tmp_path / "undisturbed")


def test_a_pipeline_makes_a_new_run_of_new_images(tmp_path: Path) -> None:
    source, data, config = tmp_path / "images", tmp_path / "data", configure("smoke", SETTINGS)
    places = set()
    for count in (20, 40):
        make_images(source, data, count)
        place = run_uri(str(tmp_path), config, load_manifest(open_storage(str(data))))
        assert check(config, str(data), 1, place).samples("train") > 0.8 * count
        places.add(place)
    assert len(places) == 2


def test_other_images_in_the_same_place_are_refused(pool: Pool, tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    make_images(tmp_path / "images", data, 40)
    pool.run(1, train_here, SETTINGS, str(data), str(run), True)
    data.rename(tmp_path / "the images of before")
    make_images(tmp_path / "other images", data, 30)
    with pytest.raises(UserError, match="holds a run of another data set"):
        check(configure("smoke", SETTINGS), str(data), 1, str(run))
