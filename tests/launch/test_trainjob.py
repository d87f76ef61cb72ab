"""A TrainJob is started once, followed, explained, and never left behind."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcvae import messages
from dcvae.errors import UserError
from dcvae.launch.starter import RankError
from dcvae.launch.trainjob import TrainJob, cluster_ranks
from dcvae.messages import Failure, Progress
from tests.launch.api_server import ApiServer
from tests.processes import wait_until

NAME = "dcvae-0123456789"
ARGUMENTS = ["dcvae.training", "--config", "{}", "--data", "s3://a", "--out", "s3://b"]


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    server = ApiServer()
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    yield server
    server.close()


def job(**options: Any) -> TrainJob:
    return TrainJob(**{"name": NAME, "runtime": "dcvae", "nodes": 2, "poll": 0.05, **options})


def said(second: int, message: Progress | Failure | str) -> str:
    """A line of a pod's log: its time and what an agent or a rank printed."""
    out = io.StringIO()
    if isinstance(message, str):
        out.write(message)
    else:
        with contextlib.redirect_stdout(out):
            messages.emit(message)
    return f"2026-01-01T00:00:{second:02d}.000000000Z [default0]:{out.getvalue().strip()}"


class Running(threading.Thread):
    """The job followed in another thread, as a controller changes it in this one."""

    def __init__(self, followed: TrainJob) -> None:
        super().__init__(daemon=True)
        self.followed = followed
        self.shown: list[Progress] = []
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.followed.run(ARGUMENTS, self.shown.append)
        except BaseException as error:
            self.error = error

    def ended(self) -> BaseException | None:
        self.join(20)
        assert not self.is_alive()
        return self.error


def test_progress_is_shown_once_and_the_finished_job_deleted(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_POD_NAME", "step")
    monkeypatch.setenv("KFP_POD_UID", "uid-of-step")
    running = Running(job(per_node=4, deadline=60))
    wait_until(lambda: NAME in api.jobs, 10)
    created = api.jobs[NAME]
    assert created["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "step", "uid": "uid-of-step"}
    ]
    assert created["spec"]["activeDeadlineSeconds"] == 60
    trainer = created["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 4)
    assert trainer["args"] == ARGUMENTS

    first, second = Progress(10, 20, {"kl": 0.5}), Progress(20, 20, {})
    api.logs[f"{NAME}-node-0-0"] = [said(1, "noise"), said(2, first)]
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME)
    wait_until(lambda: running.shown == [first], 10)
    api.answers += [503, 500]  # the server is busy for a moment
    api.logs[f"{NAME}-node-0-0"].append(said(3, second))
    wait_until(lambda: running.shown == [first, second], 20)
    api.set_condition("Complete")
    assert running.ended() is None
    assert running.shown == [first, second]
    assert not api.jobs


def test_the_earliest_failing_rank_is_told(api: ApiServer) -> None:
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    for node, (when, text) in enumerate([(20, "connection closed"), (10, "out of memory")]):
        name = f"{NAME}-node-0-{node}"
        api.add_pod(name, "Failed", NAME)
        api.logs[name] = [said(1, Failure(node, 1, (text,), when))]
    api.set_condition("Failed", "jobset failed")
    error = running.ended()
    assert isinstance(error, RankError)
    assert "rank 1 ended with exit code 1" in str(error)
    assert "out of memory" in str(error)
    assert not api.jobs


def test_bad_input_is_told_in_the_ranks_own_sentence(api: ApiServer) -> None:
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    refusal = Failure(0, 2, ("error: there is no bucket b",), 1)
    api.logs[f"{NAME}-node-0-0"] = [said(1, refusal)]
    api.add_pod(f"{NAME}-node-0-0", "Failed", NAME)
    error = running.ended()
    assert isinstance(error, UserError), "at once: the set would be made anew to be refused again"
    assert str(error) == "there is no bucket b"
    assert not api.jobs


def test_a_failed_pod_without_a_last_word_is_explained_by_kubernetes(api: ApiServer) -> None:
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    name = f"{NAME}-node-0-1-abcde"
    terminated = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:09Z"}
    container = {"name": "node", "image": "", "imageID": "", "ready": False, "restartCount": 0}
    state = [{**container, "state": {"terminated": terminated}}]
    api.logs[name] = [said(1, "loading shards")]
    api.add_pod(name, "Failed", NAME, containerStatuses=state)
    api.set_condition("Failed", "jobset failed")
    error = running.ended()
    assert isinstance(error, RankError)
    assert "OOMKilled, exit code 137" in str(error)
    assert "loading shards" in str(error)


def test_a_set_made_anew_is_followed_and_why_is_told(
    api: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    first, second = Progress(10, 20, {}), Progress(15, 20, {})
    names = [f"{NAME}-node-0-{node}-{letters}" for letters in ("aaaaa", "bbbbb") for node in (0, 1)]
    api.logs[names[0]] = [said(1, first)]
    api.logs[names[1]] = [said(2, Failure(1, -9, ("reading",), 20))]
    api.add_pod(names[0], "Running", NAME)
    api.add_pod(names[1], "Failed", NAME)
    output = []
    wait_until(lambda: output.append(capsys.readouterr().out) or "SIGKILL" in "".join(output), 10)
    api.pods.clear()
    api.logs[names[2]] = [said(30, second)]
    api.add_pod(names[2], "Running", NAME)
    wait_until(lambda: running.shown == [first, second], 10)
    # The cluster ends it and takes its pods away: what was last heard of is told.
    api.pods.clear()
    api.set_condition("Failed", "deadline exceeded")
    error = running.ended()
    assert isinstance(error, RankError)
    assert "rank 1 was ended by SIGKILL" in str(error)
    assert "deadline exceeded" in str(error)
    assert "".join([*output, capsys.readouterr().out]).count("SIGKILL") == 1


@pytest.mark.parametrize(
    ("reason", "message", "advice"),
    [
        ("FailedScheduling", "0/3 nodes: insufficient nvidia.com/gpu", "no node has room"),
        ("Failed", 'Failed to pull image "dcvae:9"', "cannot be pulled: check its name"),
        ("BackOff", 'Back-off pulling image "dcvae:9"', "cannot be pulled: check its name"),
        ("FailedCreate", "pods is forbidden: exceeded quota: dcvae-training", "ask for less"),
        ("FailedCreate", 'violates PodSecurity "restricted"', "policies refuse the pods"),
        ("Failed", 'Error: secret "dcvae-storage" not found', "create it in this namespace"),
        ("TrainJobResourcesCreationFailed", "no such runtime", "runtime cannot be used"),
    ],
)
def test_a_job_that_cannot_start_is_explained_and_given_up(
    api: ApiServer, capsys: pytest.CaptureFixture[str], reason: str, message: str, advice: str
) -> None:
    api.add_event(f"{NAME}-node-0-0", reason, "of an earlier job", "2020-01-01T00:00:00Z")
    running = Running(job(start_within=0.3))
    wait_until(lambda: NAME in api.jobs, 10)
    api.add_pod(f"{NAME}-node-0-0", "Pending", NAME)
    api.add_event(f"{NAME}-node-0-0", reason, message)
    api.add_event("another-pod", reason, "not ours")
    error = running.ended()
    assert isinstance(error, RankError)
    assert f"no pod of TrainJob {NAME} has run for 0 s; the warnings above say why" in str(error)
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert f"{reason}: {message} (" in warning
    assert advice in warning
    assert not api.jobs


def test_a_set_that_is_never_made_anew_is_given_up(api: ApiServer) -> None:
    running = Running(job(start_within=0.5))
    wait_until(lambda: NAME in api.jobs, 10)
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME)
    running.join(1)
    assert running.is_alive(), "while a pod runs it may take as long as it likes"
    api.pods[0]["status"]["phase"] = "Pending"
    assert "no pod" in str(running.ended())


def test_a_job_that_outlives_its_deadline_is_given_up(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcvae.launch.trainjob._LATE", 0.0)
    running = Running(job(deadline=1))
    wait_until(lambda: NAME in api.jobs, 10)
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME)
    assert "goes on past its deadline of 1 s" in str(running.ended())
    assert not api.jobs


def test_a_second_try_adopts_the_running_job(api: ApiServer) -> None:
    api.jobs[NAME] = json.loads(json.dumps(job().manifest(ARGUMENTS)))
    api.jobs[NAME]["metadata"]["uid"] = "the first"
    running = Running(job())
    wait_until(lambda: any("pods" in path for _, path in api.requests), 10)
    assert api.jobs[NAME]["metadata"]["uid"] == "the first"
    api.set_condition("Complete")
    assert running.ended() is None


@pytest.mark.parametrize("change", ["other arguments", "ended"])
def test_a_job_that_cannot_be_adopted_is_replaced(api: ApiServer, change: str) -> None:
    arguments = ["something else"] if change == "other arguments" else ARGUMENTS
    api.jobs[NAME] = json.loads(json.dumps(job().manifest(arguments)))
    if change == "ended":
        api.set_condition("Failed")
    running = Running(job())
    wait_until(lambda: [m for m, _ in api.requests].count("POST") == 2, 10)
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
    api.message = message
    api.answers.append(status)
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
    api.lost = 1  # the job is made, but the answer does not arrive
    running = Running(job())
    wait_until(lambda: NAME in api.jobs and not api.lost, 10)
    shown = Progress(10, 20, {})
    api.logs[f"{NAME}-node-0-0"] = [said(2, shown)]
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME)
    wait_until(lambda: running.shown == [shown], 10)
    api.lost = 1
    wait_until(lambda: not api.lost, 10)
    api.answers.append(410)
    wait_until(lambda: not api.answers, 10)
    api.set_condition("Complete")
    assert running.ended() is None
    assert running.shown == [shown]
    creations = [path for method, path in api.requests if method == "POST"]
    assert len(creations) == 2, "asked again, and the job that was there already was adopted"


def test_a_server_that_is_away_for_long_is_given_up(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dcvae.launch.cluster._PATIENCE", 0.2)
    monkeypatch.setattr("dcvae.launch.trainjob._CLEANING", 0.2)
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    api.close()
    error = running.ended()
    assert isinstance(error, RankError)
    assert "the API server has not answered for" in str(error)
    assert f"warning: TrainJob {NAME} could not be deleted" in capsys.readouterr().out


def test_whatever_is_raised_deletes_the_job(api: ApiServer) -> None:
    def show(progress: Progress) -> None:
        raise KeyboardInterrupt

    name = f"{NAME}-node-0-0"
    api.logs[name] = [said(1, Progress(1, 2, {}))]
    api.add_pod(name, "Running", NAME)
    with pytest.raises(KeyboardInterrupt):
        job().run(ARGUMENTS, show)
    assert not api.jobs


def test_a_job_deleted_by_somebody_else_does_not_wait_for_ever(api: ApiServer) -> None:
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    api.jobs.clear()
    assert "was deleted by somebody else" in str(running.ended())


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
