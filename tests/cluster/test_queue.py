"""A training in a queue of Kueue, which must be installed."""

import subprocess

import pytest

from dcvae import launch
from dcvae.launch.trainjob import TrainJob
from dcvae.presets import configure
from dcvae.sharding.shard import shard
from tests.cluster.conftest import BUCKET, Place, kubectl
from tests.cluster.test_training import SETTINGS
from tests.k8s.rendered import KUBECTL

QUEUE = "dcvae-test"


def queues(place: Place, cpus: int) -> None:
    """A queue of the place's own with room for so many processors."""
    quotas = [
        {"name": "cpu", "nominalQuota": cpus},
        {"name": "memory", "nominalQuota": "64Gi"},
    ]
    flavors = [{"name": QUEUE, "resources": quotas}]
    groups = [{"coveredResources": ["cpu", "memory"], "flavors": flavors}]
    kinds: dict[str, dict[str, object]] = {
        "ResourceFlavor": {},
        "ClusterQueue": {"namespaceSelector": {}, "resourceGroups": groups},
    }
    for kind, spec in {**kinds, "LocalQueue": {"clusterQueue": QUEUE}}.items():
        place.apply(
            {
                "apiVersion": "kueue.x-k8s.io/v1beta2",
                "kind": kind,
                "metadata": {"name": QUEUE},
                "spec": spec,
            }
        )


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_full_queue_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Longer than a start may take: time in the queue does not count. 10 minutes."""
    monkeypatch.setenv("DCVAE_TRAINING_QUEUE", QUEUE)
    data, out = f"s3://{BUCKET}/digits", f"s3://{BUCKET}/queued"
    shard("sklearn:digits", data, resolution=8, channels=1, name="digits")
    ranks = TrainJob(
        "dcvae-queued", "dcvae", nodes=2, start_within=120, poll=1.0, namespace=place.namespace
    )
    room = ["patch", "clusterqueue", QUEUE, "--type=json", "--patch"]
    path = "/spec/resourceGroups/0/flavors/0/resources/0/nominalQuota"
    change = f'[{{"op": "replace", "path": "{path}", "value": 16}}]'
    queues(place, cpus=0)
    try:
        later = ["sh", "-c", 'sleep 180; exec "$@"', "sh"]
        with subprocess.Popen([*later, str(KUBECTL), *room, change]):
            launch.train(configure("smoke", SETTINGS), data, out, ranks=ranks)
    finally:
        kubectl("delete", "clusterqueue,resourceflavor", QUEUE, "--ignore-not-found", check=False)
    output = capsys.readouterr().out
    assert output.count(f"waits in the queue {QUEUE}") == 1
    assert "goes on" in output
