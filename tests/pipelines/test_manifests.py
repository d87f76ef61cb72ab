"""All pipelines as Kubernetes resources, and uploaded to a server with a database."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.kubeflow import upload
from pipelines.kubeflow.client import Kubeflow
from pipelines.kubeflow.package import compiled, experiments
from tests.k8s.rendered import render
from tests.pipelines.kfp_server import KfpServer

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parent.parent.parent
NAMES = {f"dcvae-{name}" for name in ("digits", "celebahq")}


def write(folder: Path, *arguments: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.kubeflow.manifests", str(folder), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifests")
    done = write(folder)
    assert done.returncode == 0, done.stderr
    return folder


def objects(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """The objects of a kind by name, as an overlay in the namespace "team" applies them."""
    overlay = folder.parent / f"overlay-{folder.name}"
    overlay.mkdir(exist_ok=True)
    content = {"namespace": "team", "resources": [f"../{folder.name}"]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content))
    found = [each for each in render(overlay) if each["kind"] == kind]
    assert {each["metadata"]["namespace"] for each in found} == {"team"}
    return {each["metadata"]["name"]: each for each in found}


def test_every_pipeline_is_there_with_one_version(folder: Path) -> None:
    pipelines, versions = objects(folder, "Pipeline"), objects(folder, "PipelineVersion")
    assert pipelines.keys() >= NAMES
    assert pipelines.keys() == {pipeline.name for pipeline in experiments()}
    assert len(versions) == len(pipelines)
    for name, version in versions.items():
        spec = version["spec"]
        assert name.startswith(f"{spec['pipelineName']}-")
        assert len(name) <= 63
        assert spec["pipelineSpec"]["pipelineInfo"]["name"] == spec["pipelineName"]
        assert "kubernetes" in spec["platformSpec"]["platforms"], "sizes, secrets and volumes"
    for pipeline in pipelines.values():
        assert pipeline["spec"]["displayName"].startswith("DC-VAE")
        assert_explained(pipeline["spec"]["description"])


def assert_explained(description: str) -> None:
    """The UI's form has names and boxes alone: what they mean is told beside the pipeline."""
    summary, _, parameters = description.partition("\n\n")
    assert summary.endswith(".")
    assert "- storage: root for everything the run writes" in parameters
    assert all(line.startswith("- ") and ": " in line for line in parameters.splitlines())


def test_equal_content_has_equal_names_and_other_content_others(
    folder: Path, tmp_path: Path
) -> None:
    assert write(tmp_path / "again", seed="1").returncode == 0
    for file in folder.glob("*.yaml"):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    image = "registry.example/dcvae@sha256:" + "1" * 64
    assert write(tmp_path / "other", "--image", image).returncode == 0
    mine, others = (objects(each, "PipelineVersion") for each in (folder, tmp_path / "other"))
    assert not mine.keys() & others.keys()
    text = (tmp_path / "other" / "dcvae-digits.yaml").read_text()
    assert "ghcr.io" not in text


def test_an_image_that_is_not_pinned_is_refused(tmp_path: Path) -> None:
    done = write(tmp_path / "made", "--image", "dcvae:latest")
    assert done.returncode == 2
    assert "must be pinned" in done.stderr


def test_uploading_twice_changes_nothing(server: KfpServer, folder: Path, capfd: Capture) -> None:
    assert upload.main(["--host", server.host]) == 0
    assert {each["name"] for each in server.pipelines} >= NAMES
    for each in server.pipelines:
        assert each["display_name"].startswith("DC-VAE "), "what the UI lists"
        assert_explained(each["description"])
    versions = {each["display_name"] for each in server.versions}
    assert versions == objects(folder, "PipelineVersion").keys(), "named as in the manifests"
    for version in server.versions:
        assert len(version["pipeline_spec"]) == 2, "with what it needs of Kubernetes"
    writes = len(server.writes)

    capfd.readouterr()
    assert upload.main(["--host", server.host]) == 0
    assert capfd.readouterr().out.count("is there already") == len(server.pipelines)
    assert len(server.writes) == writes


def test_an_upload_that_was_interrupted_is_completed(server: KfpServer) -> None:
    upload.main(["--host", server.host])
    lost = server.versions.pop()
    for number in range(5):  # more than one page of older versions
        older = {"display_name": f"older-{number}", "pipeline_id": lost["pipeline_id"]}
        server.versions.insert(0, older)
    assert upload.main(["--host", server.host]) == 0
    assert [each["display_name"] for each in server.versions].count(lost["display_name"]) == 1


def test_a_server_that_refuses_is_said(server: KfpServer, capfd: Capture) -> None:
    server.answers = [403]
    assert upload.main(["--host", server.host]) == 2
    assert capfd.readouterr().err == "error: Kubeflow Pipelines refused: the database is away\n"


def test_a_server_for_many_users_is_told_who_uploads_and_where(
    server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.user = ("first token", "team")
    token = tmp_path / "token"
    token.write_text("first token")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
    kubeflow = Kubeflow(server.host, "team")
    first, second, *_ = [compiled(pipeline) for pipeline in experiments()]
    assert upload.upload(kubeflow, first)
    server.user = ("second token", "team")
    token.write_text("second token")  # Kubernetes renews it
    assert upload.upload(kubeflow, second)
    assert not upload.upload(kubeflow, second)
    assert {each["namespace"] for each in server.pipelines} == {"team"}


def test_who_is_not_known_is_told(
    server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    server.user = ("token", "team")
    arguments = ["--host", server.host, "--namespace", "team"]
    assert upload.main(arguments) == 2
    assert capfd.readouterr().err == (
        "error: Kubeflow Pipelines refused: Unauthenticated; name the file of a token in "
        "KF_PIPELINES_SA_TOKEN_PATH\n"
    )
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    assert upload.main(arguments) == 2
    assert "which is no file" in capfd.readouterr().err
    assert not server.pipelines
