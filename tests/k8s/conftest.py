"""The objects that every overlay and component makes."""

from pathlib import Path
from typing import Any

import pytest

from tests.k8s.rendered import COMPONENTS, K8S, OVERLAYS, compose, render


@pytest.fixture(
    params=[f"overlays/{n}" for n in OVERLAYS] + [f"components/{n}" for n in COMPONENTS]
)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> list[dict[str, Any]]:
    """What an overlay, or the base with a component, makes."""
    kind, _, name = request.param.partition("/")
    return render(K8S / kind / name if kind == "overlays" else compose(tmp_path, name))
