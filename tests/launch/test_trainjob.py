"""A TrainJob is started once, adopted or replaced, and never left behind."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from dcvae.errors import UserError
from dcvae.launch.cluster import Cluster
from dcvae.launch.starter import RankError
from dcvae.launch.trainjob import cluster_ranks
from dcvae.messages import Failure, Progress
from tests.launch.answers import refusal
from tests.launch.api_server import ApiServer
from tests.launch.followed import ARGUMENTS, NAME, Running, job, said
from tests.processes import wait_until


def test_a_second_try_adopts_the_running_job(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_POD_NAME", "step")
    monkeypatch.setenv("KFP_POD_UID", "first try")
    api.jobs[NAME] = json.loads(json.dumps(job().manifest(ARGUMENTS)))
    api.jobs[NAME]["metadata"]["uid"] = "the first"
    monkeypatch.setenv("KFP_POD_UID", "second try")
    running = Running(job())
    wait_until(lambda: any("pods" in path for _, path in api.requests), 10)
    api.lose("first try")
    assert api.jobs[NAME]["metadata"]["uid"] == "the first", "it outlives the pod of the first"
    (owner,) = api.jobs[NAME]["metadata"]["ownerReferences"]
    assert owner["uid"] == "second try"
    api.set_condition("Complete")
    assert running.ended() is None
    assert "POST" not in [method for method, _ in api.requests]


def test_a_job_is_not_made_while_pods_of_an_earlier_one_may_write(
    api: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    api.grace = 1.0
    api.jobs[NAME] = json.loads(json.dumps(job().manifest(["something else"])))
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME, uid="earlier")
    running = Running(job())
    wait_until(lambda: "POST" in [method for method, _ in api.requests], 10)
    assert not api.pods
    assert capsys.readouterr().out.count("waiting for an earlier TrainJob") == 1
    api.set_condition("Complete")
    assert running.ended() is None


def test_a_job_that_something_holds_is_named(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcvae.launch.trainjob._LEAVING", 0.3)
    api.jobs[NAME] = json.loads(json.dumps(job().manifest(["something else"])))
    api.jobs[NAME]["metadata"]["finalizers"] = ["example.com/holds"]
    error = Running(job()).ended()
    assert isinstance(error, RankError)
    assert f"an earlier TrainJob {NAME} does not go (no pods left)" in str(error)


def test_a_job_that_was_stopped_for_good_is_not_waited_for(api: ApiServer) -> None:
    """It was suspended to be deleted, and the step that would have was killed in between."""
    api.jobs[NAME] = json.loads(json.dumps(job().manifest(ARGUMENTS)))
    api.jobs[NAME]["spec"]["suspend"] = True
    running = Running(job())
    wait_until(lambda: "POST" in [method for method, _ in api.requests], 10)
    assert not api.jobs[NAME]["spec"].get("suspend")
    api.set_condition("Complete")
    assert running.ended() is None


def test_a_job_ends_with_its_pods_and_none_is_made_anew(api: ApiServer) -> None:
    api.grace = 0.3
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME)
    name = f"{NAME}-node-0-1"
    api.logs[name] = [said(1, Failure(1, 2, ("error: no such thing",), 1))]
    api.add_pod(name, "Failed", NAME)
    assert isinstance(running.ended(), UserError)
    assert NAME not in api.jobs, "it does not wait for the pods' checkpoint"
    changes = [method for method, _ in api.requests if method in ("PATCH", "DELETE")]
    assert changes == ["PATCH", "DELETE"], "suspended first"
    cluster = Cluster()
    wait_until(lambda: not cluster.pods(NAME), 10)
    assert not api.made_anew


def test_two_writers_that_meet_try_again(api: ApiServer) -> None:
    api.refuse_creation = refusal(409, "Operation cannot be fulfilled on resourcequotas")
    running = Running(job())
    wait_until(lambda: "POST" in [method for method, _ in api.requests], 10)
    api.refuse_creation = None
    wait_until(lambda: NAME in api.jobs, 10)
    api.set_condition("Complete")
    assert running.ended() is None


@pytest.mark.parametrize("change", ["other arguments", "ended"])
def test_a_job_that_cannot_be_adopted_is_replaced(api: ApiServer, change: str) -> None:
    arguments = ["something else"] if change == "other arguments" else ARGUMENTS
    api.jobs[NAME] = json.loads(json.dumps(job().manifest(arguments)))
    if change == "ended":
        api.set_condition("Failed")
    running = Running(job())
    wait_until(lambda: any(method == "POST" for method, _ in api.requests), 10)
    assert api.jobs[NAME]["spec"]["trainer"]["args"] == ARGUMENTS
    api.set_condition("Complete")
    assert running.ended() is None


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        (
            403,
            'forbidden: User "a" cannot create resource "trainjobs" in API group "x"',
            r'cannot create resource "trainjobs".*role dcvae-steps',
        ),
        (403, "admission webhook denied the request: no such runtime", "refuses the TrainJob: adm"),
        (422, "TrainJob is invalid: spec.trainer", "refuses the TrainJob: TrainJob is invalid"),
        (401, "Unauthorized", "does not know this account: Unauthorized; log in again"),
        (404, 'namespaces "team" not found', "there is no namespace team: create it"),
        (404, "404 page not found", r"no trainjobs\.trainer\.kubeflow\.org.*install Kubeflow Tra"),
    ],
)
def test_what_the_cluster_refuses_is_said_in_one_sentence(
    api: ApiServer, status: int, message: str, sentence: str
) -> None:
    # A kind that is not installed has no status at all.
    page = message if message.endswith("page not found") else None
    api.refuse_creation = (status, page) if page else refusal(status, message)
    error = Running(job()).ended()
    assert isinstance(error, UserError)
    assert re.search(sentence, str(error))
    assert not api.jobs


def test_a_right_lost_on_the_way_ends_it_and_the_job_is_deleted(api: ApiServer) -> None:
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    api.message = 'cannot list resource "events" in API group ""'
    api.answers.append(403)
    error = running.ended()
    assert 'cannot list resource "events"' in str(error)
    assert not api.jobs


def test_lost_connections_and_answers_lose_nothing(api: ApiServer) -> None:
    api.lose_answer_to = "POST"  # the job is made, but the answer does not arrive
    running = Running(job())
    wait_until(lambda: NAME in api.jobs and not api.lose_answer_to, 10)
    shown = Progress(10, 20, {})
    api.logs[f"{NAME}-node-0-0"] = [said(2, shown)]
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME)
    wait_until(lambda: running.shown == [shown], 10)
    api.lose_answer_to = "GET"
    wait_until(lambda: not api.lose_answer_to, 10)
    api.answers.append(410)
    wait_until(lambda: not api.answers, 10)
    api.set_condition("Complete")
    assert running.ended() is None
    assert running.shown == [shown]
    methods = [method for method, _ in api.requests]
    assert methods.count("POST") == 2, "asked again"
    assert methods.count("PATCH") == 2, "the job that was there already was adopted; at the end"


def test_whatever_is_raised_deletes_the_job(api: ApiServer) -> None:
    class Broken(Running):
        def run(self) -> None:
            try:
                self.followed.run(ARGUMENTS, lambda progress: 1 / 0)  # type: ignore[arg-type]
            except ArithmeticError as error:
                self.error = error

    running = Broken(job())
    wait_until(lambda: NAME in api.jobs, 10)
    api.logs[f"{NAME}-node-0-0"] = [said(1, Progress(1, 2, {}))]
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME)
    assert isinstance(running.ended(), ZeroDivisionError)
    assert not api.jobs


def test_a_stopped_step_deletes_its_job(api: ApiServer) -> None:
    program = (
        "from dcvae.launch.trainjob import TrainJob\n"
        f"TrainJob('{NAME}', 'dcvae', poll=0.05).run({ARGUMENTS!r}, print)"
    )
    with subprocess.Popen([sys.executable, "-c", program], env=os.environ.copy()) as step:
        wait_until(lambda: NAME in api.jobs, 30)
        step.send_signal(signal.SIGTERM)
        assert step.wait(20) == 143
    assert not api.jobs
    # A second is often all it has: nothing comes before, nor after.
    assert [method for method, _ in api.requests][-2:] == ["PATCH", "DELETE"]


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_ranks("s3://b/run", 8) is None
    monkeypatch.setenv("DCVAE_TRAINING_RUNTIME", "dcvae")
    monkeypatch.setenv("DCVAE_RANKS_PER_NODE", "4")
    found = cluster_ranks("s3://b/run", 8)
    assert found is not None
    assert (found.nodes, found.per_node, found.nproc) == (2, 4, 8)
    same = cluster_ranks("s3://b/run", 8)
    assert same is not None
    assert same.name == found.name
    assert len(found.name) <= 40
    with pytest.raises(UserError, match="6 ranks do not fill nodes of 4"):
        cluster_ranks("s3://b/run", 6)
