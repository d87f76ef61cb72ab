"""``dcvae doctor --cluster`` names what a cluster lacks, over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dcvae.cli import app
from dcvae.doctor.cluster import RIGHTS, cluster
from tests.launch.api_server import CORE, JOBS, ApiServer, granted

K8S = Path(__file__).parent.parent.parent / "k8s"
STEPS = f"{CORE}/serviceaccounts/pipeline-runner"
RUNTIMES = JOBS.replace("trainjobs", "trainingruntimes")
KINDS = {
    "trainer.kubeflow.org/v1alpha1": "trainjobs",
    "jobset.x-k8s.io/v1alpha2": "jobsets",
    "argoproj.io/v1alpha1": "workflows",
    "monitoring.coreos.com/v1": "podmonitors",
    "kueue.x-k8s.io/v1beta2": "localqueues",
}


def kinds(group: str, plural: str) -> dict[str, Any]:
    resource = {"name": plural, "singularName": "", "namespaced": True, "kind": "A", "verbs": []}
    return {"kind": "APIResourceList", "groupVersion": group, "resources": [resource]}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A cluster that has everything."""
    server = ApiServer()
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    words = ("major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate")
    more = ("goVersion", "compiler", "platform")
    version = dict.fromkeys((*words, *more), "") | {
        "major": "1",
        "minor": "34+",
        "gitVersion": "v1.34.0",
    }
    server.objects = {
        "/version/": version,
        **{f"/apis/{group}": kinds(group, plural) for group, plural in KINDS.items()},
        f"{CORE}/services/ml-pipeline": {},
        f"{CORE}/configmaps/dcvae-cluster": {"data": {"DCVAE_TRAINING_RUNTIME": "ours"}},
        f"{CORE}/secrets/dcvae-storage": {},
        STEPS: {},
        f"{RUNTIMES}/ours": {},
    }
    server.rights = {str(right) for right in RIGHTS}
    yield server
    server.close()


def faults() -> list[str]:
    return [f"{each.subject}: {each.text}" for each in cluster() if each.level == "fail"]


def test_nothing_is_missing(api: ApiServer) -> None:
    assert {each.level for each in cluster()} == {"ok"}
    assert {method for method, _ in api.requests} == {"GET", "POST"}
    assert all("accessreviews" in path for method, path in api.requests if method == "POST")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/apis/trainer.kubeflow.org/v1alpha1", "install Kubeflow Trainer 2.3"),
        ("/apis/jobset.x-k8s.io/v1alpha2", "install JobSet"),
        ("/apis/argoproj.io/v1alpha1", "install Kubeflow Pipelines 2.17"),
        (f"{CORE}/services/ml-pipeline", "no ml-pipeline in team; is Kubeflow elsewhere?"),
        (f"{CORE}/configmaps/dcvae-cluster", "no dcvae-cluster in team; apply an overlay"),
        (f"{RUNTIMES}/ours", "no ours in team; apply an overlay"),
        (STEPS, "no pipeline-runner in team"),
    ],
)
def test_what_is_missing_is_named(api: ApiServer, path: str, sentence: str) -> None:
    del api.objects[path]
    assert any(sentence in each for each in faults())


def test_what_is_optional_is_noted(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/apis/monitoring.coreos.com/v1", "/apis/kueue.x-k8s.io/v1beta2"):
        del api.objects[path]
    del api.objects[f"{CORE}/secrets/dcvae-storage"]
    assert not faults()
    assert sum(each.level == "note" for each in cluster()) == 3
    monkeypatch.setenv("DCVAE_TRAINING_QUEUE", "dcvae")
    assert any("install Kueue" in each for each in faults())


def test_the_verbs_that_the_account_lacks_are_named(api: ApiServer) -> None:
    api.rights -= {"create trainjobs.trainer.kubeflow.org", "get pods/log"}
    (fault,) = faults()
    assert fault == (
        "rights: pipeline-runner in team may not create trainjobs.trainer.kubeflow.org, "
        "get pods/log; apply an overlay of k8s/"
    )


def test_a_users_namespace_of_a_kubeflow_for_many(api: ApiServer) -> None:
    del api.objects[f"{CORE}/services/ml-pipeline"], api.objects[STEPS]
    api.objects[f"{CORE}/serviceaccounts/default-editor"] = {}
    assert any("no ml-pipeline in kubeflow" in each for each in faults())
    api.objects["/api/v1/namespaces/kubeflow/services/ml-pipeline"] = {}
    (fault,) = faults()
    assert "rights: default-editor in team may not create" in fault
    api.account = "default-editor"
    assert not faults()


def test_the_base_grants_what_is_asked_for() -> None:
    assert granted() == {str(right) for right in RIGHTS}


@pytest.mark.parametrize("version", [None, {"major": "", "minor": "", "gitVersion": ""}])
def test_a_server_that_does_not_tell_its_version_is_noted(
    api: ApiServer, version: dict[str, str] | None
) -> None:
    if version is None:
        del api.objects["/version/"]  # where only some may ask
    else:
        api.objects["/version/"] |= version
    assert not faults()
    (note,) = [each for each in cluster() if each.level == "note"]
    assert note.text == "the server does not tell its version: 1.31 is needed"


def test_identities_of_the_cloud_are_for_the_steps_too(api: ApiServer) -> None:
    del api.objects[f"{CORE}/secrets/dcvae-storage"]
    ranks = f"{CORE}/serviceaccounts/dcvae-trainer"
    role = {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/a"}}}
    api.objects[ranks] = {}
    assert not faults(), "another cloud's may be told in another way"
    api.objects[ranks] = role
    (fault,) = faults()
    assert "identity: pipeline-runner in team has no role for the storage" in fault
    api.objects[STEPS] = role
    assert not faults()
    assert any(each.subject == "identity" and each.level == "ok" for each in cluster())


def test_an_old_a_silent_and_a_missing_cluster(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.objects["/version/"]["minor"] = "30"
    assert "too old: 1.31 is needed" in faults()[0]
    api.answers = [401]
    (fault,) = faults()
    assert "the API server does not answer" in fault
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    (fault,) = faults()
    assert "there is no cluster" in fault


def test_the_command_ends_badly_when_something_is_missing(api: ApiServer) -> None:
    api.rights.clear()
    done = CliRunner().invoke(app, ["doctor", "--cluster"])
    assert done.exit_code == 1
    assert "fail  rights    pipeline-runner in team may not create trainjobs" in done.output
