"""What kustomize makes of the overlays, and of the base with each component."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).parent.parent.parent / "k8s"
KUBECTL = Path(sys.executable).parent / "kubectl"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
# A component that builds on others.
NEEDS = {
    "spot": ["gpu"],
    "multi-user": ["pipelines"],
    "fixed-ids": ["pipelines"],
    "openshift": ["monitoring"],
}


def render(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize warns"
    return list(yaml.safe_load_all(done.stdout))


def compose(folder: Path, name: str) -> Path:
    """A kustomization of the base and one component, with what that one builds on."""
    (folder / "k8s").symlink_to(K8S)
    made = folder / "made"
    made.mkdir()
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "team",
        "resources": ["../k8s/base"],
        "components": [f"../k8s/components/{each}" for each in [*NEEDS.get(name, []), name]],
        "images": [{"name": "ghcr.io/dcvae/dcvae", "newTag": "0.1.0"}],
    }
    (made / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return made


def of(objects: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    return (each for each in objects if each["kind"] == kind)


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(metadata, spec) of every pod template."""
    for runtime in of(objects, "TrainingRuntime"):
        for job in runtime["spec"]["template"]["spec"]["replicatedJobs"]:
            template = job["template"]["spec"]["template"]
            yield template["metadata"], template["spec"]
    for kind in ("Job", "Deployment"):
        for each in of(objects, kind):
            yield each["spec"]["template"]["metadata"], each["spec"]["template"]["spec"]
