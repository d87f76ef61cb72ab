"""A Kubeflow Pipelines to talk to."""

from collections.abc import Iterator

import pytest

from tests.pipelines.kfp_server import KfpServer


@pytest.fixture
def server() -> Iterator[KfpServer]:
    server = KfpServer()
    yield server
    server.close()
