"""The minikube script acts only on what is missing; programs that only note what they are asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.k8s.rendered import K8S

# One program under all names. It notes its arguments, and answers as a machine would on which
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
  *port-forward*) has dropping && exit; exec sleep 60 ;;
  "kubectl version"*) echo '{"clientVersion": {"major": "1", "minor": "'$(cat "$HAS/minor")'+"}}' ;;
  "curl "*) grep -q port-forward "$NOTES"; exit ;;
  "uname "*) cat "$HAS/system" ;;
  "nproc "*) cat "$HAS/processors" ;;
  "python "*digits.py*)
    while has dropping && [[ $(grep -c port-forward "$NOTES") -lt 2 ]]; do sleep 0.1; done ;;
esac
true
"""
ALL = ("running", "cluster", "image", "pipelines", "trainer", "secret")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("minikube", "kubectl", "docker", "curl", "git", "python", "uname", "nproc"):
        (programs / name).write_text(PROGRAM)
        (programs / name).chmod(0o755)
    (tmp_path / "has").mkdir()
    for name, what in (("minor", "34"), ("system", "x86_64"), ("processors", "8")):
        (tmp_path / "has" / name).write_text(what)
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


@pytest.mark.parametrize(
    ("name", "what", "sentence"),
    [
        ("minor", "26", "kubectl 1.26 is too old"),
        ("system", "aarch64", "this machine is aarch64: Kubeflow Pipelines has images for amd64"),
        ("processors", "2", "this machine has 2 processors and the cluster takes 6"),
    ],
)
def test_a_machine_that_cannot_carry_it_is_told_before_anything_is_made(
    machine: Path, name: str, what: str, sentence: str
) -> None:
    (machine / "has" / name).write_text(what)
    done, asked = script(machine, "up")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "minikube start" not in asked


def test_what_it_takes_and_how_the_image_is_built_is_shown(machine: Path) -> None:
    done, asked = script(machine, "up", *ALL)
    assert "6 processors, 12g of memory, 60g of disk" in done.stdout
    assert "docker build --tag" in asked, "with its progress"


def test_a_connection_that_drops_is_made_again(machine: Path) -> None:
    done, asked = script(machine, "up", *ALL, "dropping")
    assert done.returncode == 0, done.stderr
    assert asked.count("port-forward") >= 2
