"""An API server that lets the steps of a pipeline do what k8s/base allows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.api_server import ApiServer, granted


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    server = ApiServer()
    server.strict, server.rights = True, granted()
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    yield server
    server.close()
