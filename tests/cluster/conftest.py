"""A namespace of one's own on the cluster of kubectl's current context, removed at the end.

What it needs is in docs/kubernetes.md.
"""

import json
import os
import secrets
import string
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import yaml

from components.base import IMAGE
from tests.k8s.rendered import K8S, KUBECTL
from tests.processes import free_port

HERE = Path(__file__).parent
BUCKET = "dcvae-test"


def kubectl(*arguments: str, given: str | None = None, check: bool = True) -> str:
    """What kubectl prints; its errors fail the test, with what it said."""
    done = subprocess.run(
        [KUBECTL, *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or not check, f"kubectl {arguments}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Place:
    """The namespace, with k8s/base in it."""

    namespace: str
    image: str = IMAGE

    def kubectl(self, *arguments: str) -> str:
        return kubectl("--namespace", self.namespace, *arguments)

    def pods(self, job: str) -> dict[str, str]:
        """The uid of each pod of a TrainJob, by name."""
        label = f"jobset.sigs.k8s.io/jobset-name={job}"
        found = json.loads(self.kubectl("get", "pods", "--selector", label, "--output", "json"))
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in found["items"]}

    def uid(self, job: str) -> str:
        """The uid of a TrainJob; empty while there is none."""
        path = "--output=jsonpath={.metadata.uid}"
        return self.kubectl("get", "trainjob", job, "--ignore-not-found", path)

    def apply(self, thing: dict[str, object]) -> None:
        kubectl("--namespace", self.namespace, "apply", "--filename", "-", given=json.dumps(thing))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    name = f"dcvae-test-{secrets.token_hex(4)}"
    image = os.environ.get("DCVAE_CLUSTER_IMAGE", IMAGE)
    ours = not kubectl("get", "priorityclass", "dcvae-training", "--ignore-not-found")
    keys = {
        "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        "AWS_REGION": "us-east-1",
    }
    try:
        make(name, image, {**keys, "AWS_ENDPOINT_URL": "http://seaweedfs:8333"}, tmp_path)
        port = free_port()
        forward = [
            str(KUBECTL),
            "--namespace",
            name,
            "port-forward",
            "pod/seaweedfs",
            f"{port}:8333",
        ]
        with subprocess.Popen(forward, stdout=subprocess.DEVNULL) as forwarding:
            try:
                endpoint = f"http://127.0.0.1:{port}"
                for variable, value in {**keys, "AWS_ENDPOINT_URL": endpoint}.items():
                    monkeypatch.setenv(variable, value)
                make_bucket(endpoint)
                yield Place(name, image)
            finally:
                forwarding.terminate()
    finally:
        kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout", "180s", check=False)
        if ours:
            kubectl("delete", "priorityclass", "dcvae-training", "--ignore-not-found", check=False)


def make(namespace: str, image: str, secret: dict[str, str], folder: Path) -> None:
    """The namespace, its storage, and k8s/base with the image to be tested."""
    text = string.Template((HERE / "place.yaml").read_text())
    objects = text.substitute(NAMESPACE=namespace, IMAGE=image)
    # The namespace first, then the secret that the pod reads at its start.
    first, _, rest = objects.partition("\n---\n")
    kubectl("apply", "--filename", "-", given=first)
    kept = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "dcvae-storage", "namespace": namespace},
        "stringData": secret,
    }
    kubectl("apply", "--filename", "-", given=json.dumps(kept))
    kubectl("apply", "--filename", "-", given=rest)
    (folder / "k8s").symlink_to(K8S)
    overlay = folder / "overlay"
    overlay.mkdir()
    kept_image, _, tag = image.rpartition("@") if "@" in image else image.rpartition(":")
    chosen = {"name": "ghcr.io/dcvae/dcvae", "newName": kept_image}
    chosen["digest" if "@" in image else "newTag"] = tag
    content = {"namespace": namespace, "resources": ["../k8s/base"], "images": [chosen]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content))
    kubectl("apply", "--kustomize", str(overlay))
    wait = ("wait", "--for", "condition=ready", "--timeout", "300s", "pod/seaweedfs")
    kubectl("--namespace", namespace, *wait)


def make_bucket(endpoint: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
