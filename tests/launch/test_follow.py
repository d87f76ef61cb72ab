"""A TrainJob is followed: what it and its pods say is told once, with what to do about it."""

import pytest

from dcvae.errors import UserError
from dcvae.launch.starter import RankError
from dcvae.messages import Failure, Progress
from tests.launch.api_server import ApiServer
from tests.launch.followed import ARGUMENTS, NAME, Running, job, said
from tests.launch.held import now
from tests.processes import wait_until


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


def test_a_job_waits_in_its_queue_and_no_clock_runs(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dcvae.launch.trainjob._LATE", 0.0)
    monkeypatch.setenv("DCVAE_TRAINING_QUEUE", "gpus")
    api.queue_full = True
    running = Running(job(start_within=0.5, deadline=1))
    running.join(2)
    assert running.is_alive()
    output = capsys.readouterr().out
    assert output.count(f"TrainJob {NAME} waits in the queue gpus") == 1
    api.admit()
    assert f"no pod of TrainJob {NAME} has run for 0 s" in str(running.ended())
    assert f"TrainJob {NAME} goes on" in capsys.readouterr().out


def test_ranks_are_read_beside_another_container(api: ApiServer) -> None:
    """A service mesh adds one to each pod, before ours in the list."""
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    shown = Progress(10, 20, {})
    name, other = f"{NAME}-node-0-0", f"{NAME}-node-0-1"
    api.logs[name] = [said(1, shown)]
    api.add_pod(name, "Running", NAME, containers=("istio-proxy", "node"))
    wait_until(lambda: running.shown == [shown], 10)
    container = {"image": "", "imageID": "", "ready": False, "restartCount": 0}
    ends = {"istio-proxy": {"exitCode": 0}, "node": {"exitCode": 137, "reason": "OOMKilled"}}
    states = [
        {**container, "name": each, "state": {"terminated": end}} for each, end in ends.items()
    ]
    both = ("istio-proxy", "node")
    api.add_pod(other, "Failed", NAME, containers=both, containerStatuses=states)
    api.set_condition("Failed", "jobset failed")
    assert "OOMKilled, exit code 137" in str(running.ended())


def test_a_runtime_without_our_container_is_named(api: ApiServer) -> None:
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME, containers=("trainer",))
    error = running.ended()
    assert isinstance(error, UserError)
    assert "the training runtime has no container 'node'" in str(error)


def test_the_events_of_a_namespace_are_not_read_at_every_look(api: ApiServer) -> None:
    running = Running(job())
    wait_until(lambda: sum("/pods?" in path for _, path in api.requests) > 8, 20)
    api.set_condition("Complete")
    assert running.ended() is None
    assert sum("/events" in path for _, path in api.requests) == 1


def test_a_server_that_is_away_is_waited_for_and_no_clock_runs(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dcvae.launch.cluster._TELLING", 0.2)
    monkeypatch.setattr("dcvae.launch.cluster._PATIENCE", 0.1)  # of one that never answered
    running = Running(job(start_within=1.0))
    wait_until(lambda: NAME in api.jobs and any("pods" in path for _, path in api.requests), 10)
    api.close()
    running.join(3)
    assert running.is_alive()
    api.open_again()
    shown = Progress(10, 20, {})
    api.logs[f"{NAME}-node-0-0"] = [said(2, shown)]
    api.add_pod(f"{NAME}-node-0-0", "Running", NAME)
    wait_until(lambda: running.shown == [shown], 20)
    api.set_condition("Complete")
    assert running.ended() is None
    output = capsys.readouterr().out
    assert output.count("warning: the API server does not answer") == 1, output
    assert "asked again for up to 168 h 00 min" in output
    assert output.count("the API server answers again, after") == 1


def test_a_server_that_is_away_for_long_is_given_up(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dcvae.launch.trainjob._CLEANING", 0.2)
    running = Running(job(deadline=1))
    wait_until(lambda: NAME in api.jobs, 10)
    api.close()
    error = running.ended()
    assert isinstance(error, RankError)
    assert "the API server has not answered for" in str(error)
    assert f"warning: TrainJob {NAME} could not be deleted" in capsys.readouterr().out


def test_a_job_deleted_by_somebody_else_does_not_wait_for_ever(api: ApiServer) -> None:
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    api.jobs.clear()
    assert "was deleted by somebody else" in str(running.ended())


def test_nor_one_that_is_being_deleted(api: ApiServer) -> None:
    running = Running(job())
    wait_until(lambda: NAME in api.jobs, 10)
    api.jobs[NAME]["metadata"] |= {"deletionTimestamp": now(), "finalizers": ["example.com/a"]}
    assert "was deleted by somebody else" in str(running.ended())
