"""What becomes of a training when its step, or the way to the API server, is lost."""

import os
import time
from pathlib import Path

import pytest

from dcvae import launch
from dcvae.launch.trainjob import TrainJob
from dcvae.messages import Progress
from dcvae.presets import configure
from dcvae.sharding.shard import shard
from tests.cluster.conftest import BUCKET, Place
from tests.cluster.steps import KILL, job_of, step, way
from tests.cluster.test_training import SETTINGS
from tests.processes import free_port, wait_until

DATA, OUT = f"s3://{BUCKET}/digits", f"s3://{BUCKET}/step"
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


def start(place: Place, name: str) -> None:
    """A step that trains, as a pod of the place."""
    shard("sklearn:digits", DATA, resolution=8, channels=1, name="digits")
    place.apply(step(name, place.image, configure("smoke", SETTINGS), DATA, OUT, 2))


def test_a_step_that_was_killed_is_followed_by_one_that_adopts_its_job(place: Place) -> None:
    """The job goes on under the second pod, when the first is gone too. 5 minutes."""
    job = job_of(OUT, 2)
    start(place, "first")
    wait_until(lambda: len(place.pods(job)) == 2, 300)
    made = place.uid(job)
    place.kubectl("exec", "first", "--", "python", "-c", KILL)
    start(place, "second")
    wait_until(lambda: "following it" in place.kubectl("logs", "second"), 120)
    place.kubectl("delete", "pod", "first", "--wait")
    time.sleep(30)  # the garbage collector has had its time
    assert place.uid(job) == made
    place.kubectl("delete", "pod", "second", "--wait")


def test_a_run_that_is_terminated_leaves_no_job(place: Place) -> None:
    """Its step gets SIGTERM; five seconds later there is no TrainJob. 4 minutes."""
    job = job_of(OUT, 2)
    start(place, "step")
    wait_until(lambda: len(place.pods(job)) == 2, 300)
    place.kubectl("delete", "pod", "step", "--wait=false")
    time.sleep(5)
    assert not place.uid(job)
    wait_until(lambda: not place.pods(job), 180)


def test_an_api_server_that_is_away_for_three_minutes_is_waited_for(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The training runs meanwhile, and the step follows on. 12 minutes."""
    shard("sklearn:digits", DATA, resolution=8, channels=1, name="digits")
    seen: list[Progress] = []
    blocked = False

    def show(progress: Progress) -> None:
        nonlocal blocked
        seen.append(progress)
        if not blocked:
            blocked = True
            road.block()
            time.sleep(180)  # shorter than this, nobody would notice
            road.open()

    with way(free_port(), os.environ.get("KUBECONFIG")) as road:
        proxied = road.kubeconfig(tmp_path / "kubeconfig", place.namespace)
        monkeypatch.setenv("KUBECONFIG", str(proxied))
        ranks = TrainJob("dcvae-away", "dcvae", nodes=2, poll=1.0, namespace=place.namespace)
        launch.train(configure("smoke", SETTINGS), DATA, OUT, ranks=ranks, show=show)
    assert blocked
    assert seen[-1].images == seen[-1].total
