"""Fixtures that everybody may use: a real S3 server, and places of one's own on it."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dcvae.sharding.shard import shard
from dcvae.shards.manifest import Manifest
from dcvae.storage import Storage, open_storage
from dcvae.storage.embedded import EmbeddedS3, embedded_s3
from tests.launch.here import HereRanks
from tests.painted import Painted

BUCKET = "dcvae-tests"
# A shell that starts a job in the background has it, and all below it, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedS3]:
    """The session's S3 server, with AWS variables set so that s3:// URIs mean it."""
    with (
        embedded_s3(tmp_path_factory.mktemp("s3")) as server,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in server.environment().items():
            environment.setenv(name, value)
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def s3_uri(s3: EmbeddedS3) -> str:
    """An empty s3:// place for this test alone."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(params=["file", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place for this test alone: once a folder, once on S3."""
    if request.param == "file":
        return str(tmp_path / "place")
    found: str = request.getfixturevalue("s3_uri")
    return found


@pytest.fixture
def aws_environment(s3: EmbeddedS3) -> dict[str, str]:
    """The whole environment for a child process that uses the session's server."""
    return os.environ | s3.environment()


@pytest.fixture(scope="session")
def here_ranks() -> Iterator[type[HereRanks]]:
    """Trainings in this process, where ranks of their own would take too long."""
    yield HereRanks
    from dcvae.training import ranks

    ranks.finish()


class ShardSet(NamedTuple):
    storage: Storage
    manifest: Manifest


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """1,000 labelled images of 8 pixels in shards of 64, in a folder."""
    place = str(tmp_path_factory.mktemp("painted"))
    manifest = shard(Painted(1000), place, resolution=8, samples_per_shard=64)
    return ShardSet(open_storage(place), manifest)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of 30 JPEGs of different sizes."""
    from PIL import Image

    folder = tmp_path / "photographs"
    folder.mkdir()
    noise = np.random.default_rng(5)
    for n in range(30):
        coarse = noise.integers(0, 256, (6, 5 + n % 3, 3), np.uint8)
        size = (90 + 7 * n, 70 + 11 * n)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(
            folder / f"{n:02d}.jpg", quality=92
        )
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits at 4 and 8 pixels; nobody writes to it."""
    folder = tmp_path_factory.mktemp("digits")
    shard("sklearn:digits", str(folder), resolution=8)
    return folder
