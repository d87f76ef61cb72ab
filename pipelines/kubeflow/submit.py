"""A run on a cluster, and schedules of runs."""

import hashlib
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dcvae.errors import UserError
from pipelines.kubeflow.client import Kubeflow, asked, every, named
from pipelines.kubeflow.cron import with_seconds
from pipelines.kubeflow.package import Package, compiled

_ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
_PATIENCE = 300.0
"""Seconds for which a server that does not answer is asked about a run."""


def submit(
    server: Kubeflow, pipeline: Any, values: dict[str, object], experiment: str, name: str | None
) -> str:
    """Start a run, print its address, and return its ID."""
    name = name or f"{pipeline.name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    with tempfile.TemporaryDirectory() as folder:
        file = _written(compiled(pipeline), folder)
        group = server.experiment(experiment)
        with asked(server.host):
            run = server.client.run_pipeline(group, name, str(file), params=values)
    print(f"run {name!r} in the experiment {experiment!r}:")
    print(f"{server.address}/runs/details/{run.run_id}")
    return str(run.run_id)


def wait(server: Kubeflow, run: str, pipeline: Any, poll: float = 10.0) -> int:
    """Follow a run of ``pipeline`` to its end, printing each step; 0 if it succeeded, else 1.

    Interrupting this does not stop the run.
    """
    told: dict[str, str] = {}
    titles = _titles(pipeline)
    state, answered = "", time.monotonic()
    while state not in _ENDED:
        try:
            with asked(server.host):
                found = server.client.get_run(run)
        except UserError:
            if time.monotonic() - answered > _PATIENCE:
                raise
        else:
            state, answered = str(found.state), time.monotonic()
            _tell_steps(found, titles, told)
        if state not in _ENDED:
            time.sleep(poll)
    print(f"run {state.lower()}")
    if state != "SUCCEEDED" and found.error is not None:
        print(f"error: {found.error.message}", file=sys.stderr)
    return 0 if state == "SUCCEEDED" else 1


def schedule(
    server: Kubeflow,
    pipeline: Any,
    values: dict[str, object],
    cron: str,
    experiment: str,
    name: str | None,
) -> None:
    """Have the pipeline run at the times of ``cron``; there is one schedule of a name.

    An equal schedule changes nothing. A different one replaces the old one, which is deleted last,
    so that there is always a schedule. A run that is due while another is still running waits for
    it, and of missed runs only the latest is made up.

    Raises:
        UserError: ``cron`` cannot be read, or the server refused.
    """
    name, times = name or pipeline.name, with_seconds(cron)
    with tempfile.TemporaryDirectory() as folder:
        package = compiled(pipeline)
        content = (package.content, times, sorted(values.items()))
        digest = hashlib.sha256(repr(content).encode()).hexdigest()[:16]
        description = f"{cron} (content {digest})"
        group = server.experiment(experiment)
        with asked(server.host):
            present = _present(server, group, name)
            same = [each for each in present if each.description == description]
            if not same:
                made = server.client.create_recurring_run(
                    *(group, name, description),
                    cron_expression=times,
                    max_concurrency=1,
                    no_catchup=True,
                    params=values,
                    pipeline_package_path=str(_written(package, folder)),
                )
            elif same[0].mode != "ENABLE":
                server.client.enable_recurring_run(same[0].recurring_run_id)
            kept = same[0] if same else made
            for each in present:
                if each.recurring_run_id != kept.recurring_run_id:
                    server.client.delete_recurring_run(each.recurring_run_id)
    done = "is there already" if same else "replaces another" if present else "is new"
    if same and same[0].mode != "ENABLE":
        done = "was switched off, and is on again"
    print(f"the schedule {name!r} {done}: {cron} (in the server's time zone: UTC, unless set)")
    print(f"{server.address}/recurringrun/details/{kept.recurring_run_id}")


def _present(server: Kubeflow, experiment: str, name: str) -> list[Any]:
    """The schedules of this name, the oldest first."""

    def page(**options: Any) -> Any:
        return server.client.list_recurring_runs(
            experiment_id=experiment, filter=named(name), **options
        )

    # The server's filter ignores case.
    found = [each for each in every("recurring_runs", page) if each.display_name == name]
    return sorted(found, key=lambda each: (str(each.created_at), str(each.recurring_run_id)))


def _written(package: Package, folder: str) -> Path:
    file = Path(folder) / "package.yaml"
    file.write_text(package.content)
    return file


def _titles(pipeline: Any) -> dict[str, str]:
    """The titles of the steps, by the names that a run gives them."""
    spec = pipeline.pipeline_spec
    steps = [
        (name, task.task_info.name)
        for part in (spec.root, *spec.components.values())
        for name, task in part.dag.tasks.items()
        if not spec.components[task.component_ref.name].HasField("dag")  # a loop
    ]
    return {called: title for name, title in steps for called in (name, title)}


def _tell_steps(run: Any, titles: dict[str, str], told: dict[str, str]) -> None:
    """Print each step whose state has changed; Kubeflow's own nodes are not steps.

    A step that may be retried is a node with one node below it for each attempt: "train" with
    "train(0)". The first says no more than the step itself; later ones are news.
    """
    details = run.run_details.task_details if run.run_details else None
    for task in details or []:
        name, _, rest = str(task.display_name).partition("(")
        number = rest.removesuffix(")") if rest.removesuffix(")").isdigit() else ""
        name = name if number else str(task.display_name)
        title, state = titles.get(name), str(task.state)
        if title is None or number == "0" or state == "None":
            continue
        if told.get(task.task_id) != state:  # by ID: the parts of a loop share a title
            told[task.task_id] = state
            attempt = f", try {int(number) + 1}" if number else ""
            print(f"{datetime.now():%H:%M:%S}  {title}{attempt}: {state.lower()}", flush=True)
