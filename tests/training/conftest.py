"""Rank processes and a shard set, made once for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dcvae.sharding.shard import shard
from tests.training.pool import Pool


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Four real rank processes; a task may use fewer."""
    pool = Pool(4)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits at 4 and 8 pixels; nobody writes to it."""
    folder = tmp_path_factory.mktemp("digits")
    shard("sklearn:digits", str(folder), resolution=8)
    return folder
