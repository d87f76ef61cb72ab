"""Rank processes, made once for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.training.pool import Pool


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    """Four real rank processes; a task may use fewer."""
    pool = Pool(4)
    yield pool
    pool.close()
