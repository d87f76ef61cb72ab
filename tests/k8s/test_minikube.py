"""The minikube script acts only on what is missing; programs that only note what they are asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.k8s.test_manifests import K8S

# One program under four names. It notes its arguments, and answers as a machine would on which
# the files in $HAS exist.
PROGRAM = """#!/bin/bash
name=${0##*/}
echo "$name $*" >> "$NOTES"
has() { [[ -e $HAS/$1 ]]; }
case "$name $*" in
  "minikube status"*) has running || exit 7 ;;
  "minikube profile list"*) has cluster && echo '{"valid":[{"Name":"dcvae"}]}' ;;
  "minikube image ls"*) has image && echo '[{"id":"abc"}]' ;;
  "docker image inspect"*) echo sha256:abc ;;
  *"get deployment"*" ml-pipeline"*) has pipelines && echo ghcr.io/x/api-server:2.17.0 ;;
  *"get deployment"*trainer*) has trainer && echo ghcr.io/x/manager:v2.3.0 ;;
  *"get secret"*dcvae-storage*) has secret && echo secret/dcvae-storage ;;
  *"get secret"*) echo AWS_ACCESS_KEY_ID=top-secret ;;
  *"create secret"*) grep -q top-secret && touch "$HAS/given" ;;
  *port-forward*) exec sleep 60 ;;
esac
true
"""
ALL = ("running", "cluster", "image", "pipelines", "trainer", "secret")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("minikube", "kubectl", "docker", "curl", "python"):
        (programs / name).write_text(PROGRAM)
        (programs / name).chmod(0o755)
    (tmp_path / "has").mkdir()
    return tmp_path


def script(machine: Path, verb: str, *has: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """The script's end and the commands that change something."""
    for name in has:
        (machine / "has" / name).touch()
    notes = machine / "notes"
    notes.write_text("")
    done = subprocess.run(
        [K8S / "minikube.sh", verb],
        env={
            "PATH": f"{machine / 'bin'}:{os.environ['PATH']}",
            "PYTHON": str(machine / "bin" / "python"),
            "HAS": str(machine / "has"),
            "NOTES": str(notes),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done, notes.read_text()


def test_what_is_there_is_left_alone(machine: Path) -> None:
    done, asked = script(machine, "up", *ALL)
    assert done.returncode == 0, done.stderr
    for act in ("minikube start", "image load", "github.com", "create secret"):
        assert act not in asked
    assert "apply --kustomize k8s/overlays/minikube" in asked
    assert "doctor --cluster" in asked
    assert "pipelines/digits.py --submit --wait" in asked
    assert "http://localhost:8080" in done.stdout


def test_what_is_missing_is_brought_in_pinned(machine: Path) -> None:
    done, asked = script(machine, "up")
    assert done.returncode == 0, done.stderr
    order = ("minikube start", "kubeflow/pipelines", "kubeflow/trainer", "image load")
    places = [asked.index(act) for act in (*order, "create secret", "overlays/minikube")]
    assert places == sorted(places)
    assert "--kubernetes-version v1." in asked
    assert "?ref=2.17.0" in asked
    assert "?ref=v2.3.0" in asked
    assert (machine / "has" / "given").exists(), "the keys arrive"
    assert "top-secret" not in asked + done.stdout + done.stderr, "and nobody sees them"


@pytest.mark.parametrize("missing", ["trainer", "pipelines", "image", "secret"])
def test_each_step_looks_for_itself(machine: Path, missing: str) -> None:
    done, asked = script(machine, "up", *(name for name in ALL if name != missing))
    assert done.returncode == 0, done.stderr
    acts = {
        "trainer": "kubeflow/trainer",
        "pipelines": "kubeflow/pipelines",
        "image": "image load",
        "secret": "create secret",
    }
    for name, act in acts.items():
        assert (act in asked) == (name == missing)


def test_down_removes_what_there_is(machine: Path) -> None:
    done, asked = script(machine, "down")
    assert "nothing to remove" in done.stdout
    assert "delete" not in asked
    _, asked = script(machine, "down", "cluster")
    assert "minikube delete --profile dcvae" in asked


def test_a_missing_program_is_named(machine: Path) -> None:
    (machine / "bin" / "minikube").unlink()
    if shutil.which("minikube"):
        pytest.skip("this machine has minikube")
    done, asked = script(machine, "up")
    assert done.returncode == 1
    assert done.stderr == "error: minikube is needed and is not on the PATH\n"
    assert not asked
