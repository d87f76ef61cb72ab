"""What the tests on a cluster are made of, as far as it can be seen without one."""

import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from dcvae.messages import Progress
from dcvae.presets import configure
from tests.cluster.steps import job_of, step, way
from tests.crds import KUBERNETES
from tests.launch.api_server import ApiServer, granted
from tests.launch.followed import NAME, Running, job, said
from tests.processes import free_port, wait_until

FOLDER = Path(__file__).parent.parent / "cluster"


def test_the_step_is_a_pod_that_a_restricted_namespace_takes() -> None:
    pod = step("step", "registry.example/dcvae:1", configure("smoke"), "s3://a", "s3://b", 2)
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    names = {each["name"] for each in container["env"]}
    assert {"KFP_POD_UID", "DCVAE_S3_ACCESS_KEY_ID"} <= names
    compile(container["args"][0], "the step", "exec")


def test_the_name_of_a_job_is_known_by_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCVAE_TRAINING_RUNTIME", "dcvae")
    assert job_of("s3://a/run", 2) == job_of("s3://a/run", 2) != job_of("s3://a/other", 2)


def test_the_place_has_what_it_says() -> None:
    text = (FOLDER / "place.yaml").read_text().replace("$NAMESPACE", "a").replace("$IMAGE", "i:1")
    for thing in yaml.safe_load_all(text):
        try:
            kubernetes_validate.validate(thing, KUBERNETES, strict=True)
        except jsonschema.ValidationError as error:
            pytest.fail(f"{thing['kind']}: {error.message}")


def test_a_way_that_is_blocked_is_a_server_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dcvae.launch.cluster._TELLING", 0.2)
    api = ApiServer()
    api.strict, api.rights = True, granted()
    real = str(api.kubeconfig(tmp_path))
    with way(free_port(), real) as road:
        monkeypatch.setenv("KUBECONFIG", str(road.kubeconfig(tmp_path / "proxied", "team")))
        running = Running(job())
        wait_until(lambda: NAME in api.jobs, 30)
        road.block()
        running.join(2)
        assert running.is_alive()
        shown = Progress(10, 20, {})
        api.logs[f"{NAME}-node-0-0"] = [said(2, shown)]
        api.add_pod(f"{NAME}-node-0-0", "Running", NAME)
        road.open()
        wait_until(lambda: running.shown == [shown], 30)
        api.set_condition("Complete")
        assert running.ended() is None
    api.close()
    assert "the API server answers again" in capsys.readouterr().out


def test_each_can_be_run_alone_and_says_how_long_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "cluster", "--collect-only", "-q", str(FOLDER)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(found) >= 9
    for file in FOLDER.glob("test_*.py"):
        for part in file.read_text().split("\ndef test_")[1:]:
            docstring = part.partition('"""')[2].partition('"""')[0]
            assert "minute" in docstring, part.partition("(")[0]
