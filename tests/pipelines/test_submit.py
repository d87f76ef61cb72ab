"""Submitting and scheduling, with KFP's own client over HTTP."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dcvae.errors import UserError
from pipelines.command_line import main
from pipelines.digits import digits
from pipelines.kubeflow.client import Kubeflow
from pipelines.kubeflow.cron import with_seconds
from pipelines.kubeflow.submit import submit, wait
from tests.pipelines.kfp_server import KfpServer

ROOT = Path(__file__).parent.parent.parent
IMAGE = "registry.example/dcvae@sha256:" + "1" * 64


def start(server: KfpServer | str, *arguments: str) -> subprocess.Popen[str]:
    """``python pipelines/digits.py ARGUMENTS``, with an empty home and no cluster."""
    host = server if isinstance(server, str) else server.host
    return subprocess.Popen(
        [sys.executable, "pipelines/digits.py", *arguments, "--host", host],
        cwd=ROOT,
        env={**os.environ, "HOME": "/nonexistent"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """(exit code, output, errors) of the same, in this process, which is faster."""

    def run(server: KfpServer | str, *arguments: str) -> tuple[int, str, str]:
        host = server if isinstance(server, str) else server.host
        with pytest.raises(SystemExit) as ended:
            main(digits, [*arguments, "--host", host])
        output, errors = capfd.readouterr()
        return int(str(ended.value.code)), output, errors

    return run


def test_a_run_is_submitted_with_its_parameters_and_its_address_printed(
    server: KfpServer, run: Run
) -> None:
    arguments = ("--experiment", "first tries", "--set", "ranks=4", "--image", IMAGE)
    process = start(server, "--submit", *arguments)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    (made,) = server.runs
    assert output.splitlines()[1] == f"{server.host}/#/runs/details/{made['run_id']}"
    assert len(output.splitlines()) == 2
    assert not errors
    assert made["display_name"].startswith("dcvae-digits 20")
    assert made["runtime_config"]["parameters"] == {"ranks": 4}
    executors = made["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]
    assert {each["container"]["image"] for each in executors.values()} == {IMAGE}
    assert "kubernetes" in made["pipeline_spec"]["platform_spec"]["platforms"]
    (experiment,) = server.experiments
    assert experiment["display_name"] == "first tries"
    assert made["experiment_id"] == experiment["experiment_id"]

    assert run(server, "--submit", "--experiment", "first tries", "--name", "again")[0] == 0
    assert len(server.experiments) == 1
    assert server.runs[1]["display_name"] == "again"


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_waiting_tells_the_steps_and_ends_as_the_run(
    server: KfpServer, capfd: pytest.CaptureFixture[str], state: str, code: int
) -> None:
    kubeflow = Kubeflow(server.host)
    identity = submit(kubeflow, digits, {}, "experiment", None)
    (made,) = server.runs
    server.report(made, cut_images="SUCCEEDED", train__2="RUNNING", shard="SUCCEEDED")
    server.answers = [503]  # once, the server does not answer
    made["state"] = state
    assert wait(kubeflow, identity, digits, poll=0.1) == code
    output = capfd.readouterr().out
    said = [line.split("  ")[1] for line in output.splitlines() if "  " in line]
    assert said == ["Train: running", "Train, try 2: running", "Cut images into shards: succeeded"]
    assert output.splitlines()[-1] == f"run {state.lower()}"


def test_the_same_schedule_again_changes_nothing_and_another_replaces_it(
    server: KfpServer, run: Run
) -> None:
    code, output, errors = run(server, "--schedule", "0 3 * * 7", "--set", "ranks=4")
    assert code == 0, errors
    (first,) = server.schedules
    assert first["display_name"] == "dcvae-digits"
    assert first["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 0"
    assert int(first["max_concurrency"]) == 1
    assert first["no_catchup"] is True
    assert first["mode"] == "ENABLE"
    assert first["runtime_config"]["parameters"] == {"ranks": 4}
    assert output.splitlines()[1].endswith(first["recurring_run_id"])

    before = len(server.writes)
    assert "is there already" in run(server, "--schedule", "0 3 * * 7", "--set", "ranks=4")[1]
    assert server.schedules == [first]
    assert len(server.writes) == before, "nothing was written"

    first["mode"] = "DISABLE"
    assert "is on again" in run(server, "--schedule", "0 3 * * 7", "--set", "ranks=4")[1]
    assert server.schedules == [first]
    assert first["mode"] == "ENABLE"

    assert "replaces another" in run(server, "--schedule", "30 3 * * 7", "--set", "ranks=4")[1]
    (second,) = server.schedules
    assert second["trigger"]["cron_schedule"]["cron"] == "0 30 3 * * 0"
    assert [path.partition("/recurringruns")[2][:1] for _, path in server.writes[-2:]] == ["", "/"]

    assert run(server, "--schedule", "0 4 * * *", "--name", "daily")[0] == 0
    assert len(server.schedules) == 2, "another name, another schedule"
    assert run(server, "--schedule", "0 4 * * *", "--name", "DAILY")[0] == 0
    assert len(server.schedules) == 3, "upper case is another name"


def test_a_schedules_runs_have_no_name_and_come_one_at_a_time(
    server: KfpServer, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    run(server, "--schedule", "0 3 * * 0")
    (schedule,) = server.schedules
    made = server.trigger(schedule)
    assert made is not None
    assert "display_name" not in made
    assert server.trigger(schedule) is None, "the next one waits"
    server.report(made, register="SUCCEEDED")
    made["state"] = "SUCCEEDED"
    assert wait(Kubeflow(server.host), made["run_id"], digits, poll=0.1) == 0
    assert "Register, and judge against the champion: succeeded" in capfd.readouterr().out
    assert server.trigger(schedule) is not None


def test_left_overs_of_an_interrupted_replacement_are_removed(server: KfpServer, run: Run) -> None:
    run(server, "--schedule", "0 3 * * 0")
    kept = server.schedules[0]
    for number in range(4):
        stale = {"recurring_run_id": f"stale-{number}", "description": "other"}
        server.schedules.append({**kept, **stale})
    run(server, "--schedule", "0 3 * * 0")
    assert server.schedules == [kept]


def test_what_the_server_refuses_is_said_and_the_old_schedule_stays(
    server: KfpServer, run: Run
) -> None:
    run(server, "--schedule", "0 3 * * 0")
    kept = list(server.schedules)
    server.answers = [403, 403, 403]
    code, _, errors = run(server, "--schedule", "0 4 * * 0")
    assert code == 2
    assert errors == "error: Kubeflow Pipelines refused: the database is away\n"
    assert server.schedules == kept


def test_a_server_for_many_users_is_told_who_submits_and_where(
    server: KfpServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.user = ("my token", "team")
    (tmp_path / "token").write_text("my token")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    code, _, errors = run(server, "--submit", "--namespace", "team")
    assert code == 0, errors
    code, _, errors = run(server, "--schedule", "0 3 * * 0", "--namespace", "team")
    assert code == 0, errors
    assert {each["namespace"] for each in server.experiments} == {"team"}
    assert len(server.runs) == len(server.schedules) == 1
    code, _, errors = run(server, "--submit")
    assert (code, errors) == (2, "error: Kubeflow Pipelines refused: a namespace is required\n")


def test_a_page_to_log_in_is_not_taken_for_kubeflow(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "apis" / "v2beta1"
    page.mkdir(parents=True)
    (page / "healthz").write_text("<html>Log in</html>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
        threading.Thread(target=pages.serve_forever, args=(0.02,), daemon=True).start()
        code, _, errors = run(f"http://127.0.0.1:{pages.server_address[1]}", "--submit")
        pages.shutdown()
    assert code == 2
    assert "answers with a page, for people to log in" in errors


def test_hosts_that_are_not_kubeflow_are_told_in_seconds(run: Run) -> None:
    began = time.monotonic()
    for host, sentence in (
        ("http://127.0.0.1:9", "does not answer at http://127.0.0.1:9"),
        ("localhost:8080", "must begin with http"),
    ):
        code, output, errors = run(host, "--submit")
        assert (code, output) == (2, "")
        assert sentence in errors
        assert errors.count("\n") == 1
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("five", "six"),
    [
        ("0 3 * * 0", "0 0 3 * * 0"),
        ("*/15 0-6,22 1-31/2 JAN-mar mon-FRI", "0 */15 0-6,22 1-31/2 JAN-mar mon-FRI"),
        ("0 3 * * 7", "0 0 3 * * 0"),
        ("0 3 * * 5-7", "0 0 3 * * 0,5,6"),
        ("0 3 * * */2", "0 0 3 * * */2"),
        ("0 3 * * fri-SUN", "0 0 3 * * 0,5,6"),
        ("0 3 * * sun-tue", "0 0 3 * * sun-tue"),
        ("0 0 29 2 *", "0 0 0 29 2 *"),
        ("@hourly", "0 0 * * * *"),
        ("@daily", "0 0 0 * * *"),
        ("@Midnight", "0 0 0 * * *"),
        ("@weekly", "0 0 0 * * 0"),
        ("@monthly", "0 0 0 1 * *"),
        ("@yearly", "0 0 0 1 1 *"),
        ("@annually", "0 0 0 1 1 *"),
    ],
)
def test_five_fields_become_six(five: str, six: str) -> None:
    assert with_seconds(five) == six


@pytest.mark.parametrize(
    ("cron", "sentence"),
    [
        ("0 0 3 * * 0", "has 6 fields, not five"),
        ("@reboot", "has 1 fields, not five"),
        ("@every 1h", "has 2 fields, not five"),
        ("60 3 * * 0", "minute is 0 to 59, not '60'"),
        ("0 24 * * 0", "hour is 0 to 23"),
        ("0 3 0 * *", "day of the month is 1 to 31"),
        ("0 3 * 13 *", "month is 1 to 12"),
        ("0 3 * * 8", "day of the week is 0 to 7"),
        ("0 3 * * sonntag", "day of the week is 0 to 7"),
        ("0 5-3 * * *", "'5-3' contains nothing"),
        ("*/0 * * * *", "'*/0' contains nothing"),
        ("5/10 * * * *", "write 5-59/10"),
        ("0 3 ? * *", "cannot be read"),
        ("0 3 31 2,4 *", "never comes"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(cron: str, sentence: str) -> None:
    with pytest.raises(UserError, match=r".") as refused:
        with_seconds(cron)
    assert sentence in str(refused.value)
