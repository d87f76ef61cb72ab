"""Real TrainJobs of two ranks, and what becomes of them: ``pytest -m cluster``."""

import json

import pytest

import dcvae
from dcvae import launch
from dcvae.launch.trainjob import TrainJob
from dcvae.messages import Progress
from dcvae.presets import configure
from dcvae.sharding.shard import shard
from dcvae.storage import open_storage
from tests.cluster.conftest import BUCKET, Place
from tests.processes import wait_until

NAME = "dcvae-survives"
CHECKPOINT, TOTAL = 1_600, 16_064  # 64 + 64 + 15,936
PHASES = [
    {"resolution": 4, "images": 64, "batch_size": 16},
    {"resolution": 8, "images": 15_936, "fade_images": 64, "batch_size": 16},
]
SETTINGS = [
    f"training.phases={json.dumps(PHASES)}",
    f"training.checkpoint_images={CHECKPOINT}",
    "training.log_images=320",
    "training.sample_images=8000",
]


class Killer:
    """Kills the pod of the second rank once there is a checkpoint, and watches what follows."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.before: dict[str, str] = {}
        self.after: dict[str, str] = {}
        self.resumed: list[int] = []

    def __call__(self, progress: Progress) -> None:
        if not self.before and progress.images > 2 * CHECKPOINT:
            self.before = self.place.pods(NAME)
            victim = next(name for name in self.before if "-node-0-1" in name)
            self.place.kubectl(
                "delete", "pod", victim, "--grace-period=0", "--force", "--wait=false"
            )
        elif self.before:
            pods = self.place.pods(NAME)
            if set(pods.values()).isdisjoint(self.before.values()):
                self.after = pods
                self.resumed.append(progress.images)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_training_survives_the_loss_of_a_pod(place: Place) -> None:
    """A rank's pod is killed: the set is made anew, resumes, and the step goes on. 10 minutes."""
    data, out = f"s3://{BUCKET}/digits", f"s3://{BUCKET}/run"
    shard("sklearn:digits", data, resolution=8, channels=1, name="digits")
    config = configure("smoke", SETTINGS)
    ranks = TrainJob(NAME, "dcvae", nodes=2, poll=1.0, namespace=place.namespace)
    killer = Killer(place)
    snapshot = launch.train(config, data, out, ranks=ranks, show=killer)

    assert len(killer.before) == len(killer.after) == 2, "the set of two was made anew, whole"
    assert killer.resumed, "it went on"
    assert killer.resumed[0] > CHECKPOINT, "from the checkpoint, not from the start"
    seen = [
        json.loads(line)["images"] for line in open_storage(out).read("metrics.jsonl").splitlines()
    ]
    assert seen == sorted(set(seen)), "no image was counted twice"
    assert seen[-1] == TOTAL
    assert dcvae.load(snapshot).sample(2).shape == (2, 1, 8, 8)

    assert NAME not in place.kubectl("get", "trainjobs", "--output", "name")
    wait_until(lambda: not place.pods(NAME), 120)


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_bad_input_is_not_tried_again(place: Place) -> None:
    """Exit code 2 fails the set at once, where another failure would restart it. 3 minutes."""
    name = "dcvae-refused"
    ranks = TrainJob(name, "dcvae", nodes=2, namespace=place.namespace)
    missing = f"s3://{BUCKET}/no-such-data"
    arguments = ["dcvae.training", "--config", configure("smoke", SETTINGS).model_dump_json()]
    place.apply(ranks.manifest([*arguments, "--data", missing, "--out", f"s3://{BUCKET}/refused"]))
    place.kubectl("wait", "--for=condition=Failed", f"trainjob/{name}", "--timeout=300s")
    restarts = "--output=jsonpath={.status.restarts}"
    assert place.kubectl("get", "jobset", name, restarts) in ("", "0")
    place.kubectl("delete", "trainjob", name)
