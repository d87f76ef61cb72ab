"""A TrainJob is started once, followed, explained, and never left behind."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcvae.errors import UserError
from dcvae.launch import lines
from dcvae.launch.lines import Failure, Progress
from dcvae.launch.ranks import RankError
from dcvae.launch.trainjob import TrainJob, cluster_ranks
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
            lines.emit(message)
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
    api.add_pod(f"{NAME}-node-0-0", "Failed", NAME)
    refusal = Failure(0, 2, ("error: there is no bucket b",), 1)
    api.logs[f"{NAME}-node-0-0"] = [said(1, refusal)]
    api.set_condition("Failed", "jobset failed")
    error = running.ended()
    assert isinstance(error, UserError)
    assert str(error) == "there is no bucket b"


def test_a_job_that_cannot_start_is_explained_and_given_up(
    api: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Running(job(start_within=0.5))
    wait_until(lambda: NAME in api.jobs, 10)
    api.add_pod(f"{NAME}-node-0-0", "Pending", NAME)
    api.add_event(f"{NAME}-node-0-0", "FailedScheduling", "0/3 nodes: insufficient nvidia.com/gpu")
    api.add_event("another-pod", "FailedMount", "not ours")
    error = running.ended()
    assert isinstance(error, RankError)
    assert "has not started" in str(error)
    warnings = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "insufficient nvidia.com/gpu (no node has room" in warnings[0]
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


def test_a_missing_right_is_named(api: ApiServer) -> None:
    api.answers.append(403)
    error = Running(job()).ended()
    assert isinstance(error, UserError)
    assert "may not create trainjobs" in str(error)
    assert "k8s/base" in str(error)


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
