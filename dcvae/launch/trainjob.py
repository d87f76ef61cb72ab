"""Ranks on a cluster: a Kubeflow TrainJob that is followed, and that never outlives its step.

Our own TrainingRuntime (k8s/base) says image, sizes, storage secret and restarts; the job says
only what differs between runs. Its name follows from the run folder, so a step that is tried
again finds its job instead of starting a second one.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dcvae.errors import UserError
from dcvae.launch.cluster import GROUP, VERSION, Cluster, Taken
from dcvae.launch.lines import Failure, Progress, parse
from dcvae.launch.process import stopping_on_sigterm
from dcvae.launch.ranks import RankError, raise_failure

RUNTIME_VARIABLE = "DCVAE_TRAINING_RUNTIME"
RANKS_PER_NODE_VARIABLE = "DCVAE_RANKS_PER_NODE"
DEADLINE_VARIABLE = "DCVAE_TRAINING_DEADLINE_SECONDS"
START_VARIABLE = "DCVAE_TRAINING_START_SECONDS"
QUEUE_VARIABLE = "DCVAE_TRAINING_QUEUE"
_DIGEST = "dcvae.dev/arguments"
_WEEK = 7 * 24 * 3600
_ADVICE = {
    "FailedScheduling": "no node has room: free some, ask for less, or add nodes",
    "FailedCreate": "the namespace's quota or its policies refuse the pods",
    "TrainJobResourcesCreationFailed": "the training runtime cannot be used as it is",
    "Failed": "the image cannot be pulled: check its name, tag and pull secret",
    "BackOff": "a container does not start: see the message",
    "FailedMount": "a volume or a secret is missing",
}


def cluster_ranks(out: str, nproc: int) -> "TrainJob | None":
    """Ranks as a TrainJob, if the environment names a training runtime; else None.

    Raises:
        UserError: the ranks do not fill whole nodes.
    """
    runtime = os.environ.get(RUNTIME_VARIABLE)
    if not runtime:
        return None
    per_node = min(nproc, int(os.environ.get(RANKS_PER_NODE_VARIABLE, "1")))
    if nproc % per_node:
        raise UserError(f"{nproc} ranks do not fill nodes of {per_node}; use a multiple")
    return TrainJob(
        name=f"dcvae-{hashlib.sha256(out.encode()).hexdigest()[:10]}",
        runtime=runtime,
        nodes=nproc // per_node,
        per_node=per_node,
        deadline=int(os.environ.get(DEADLINE_VARIABLE, _WEEK)),
        start_within=float(os.environ.get(START_VARIABLE, 3600)),
    )


@dataclass
class TrainJob:
    """Starts ranks as one TrainJob in the namespace of this process."""

    name: str
    runtime: str
    nodes: int = 1
    per_node: int = 1
    deadline: int = _WEEK
    """Seconds after which the cluster ends the job."""
    start_within: float = 3600
    """Seconds within which a pod must run, or the job is given up."""
    poll: float = 5.0
    namespace: str | None = None
    _read: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    @property
    def nproc(self) -> int:
        """Ranks in all, over all nodes."""
        return self.nodes * self.per_node

    def run(self, arguments: Sequence[str], show: Callable[[Progress], None]) -> None:
        """Run ``python -m`` ARGUMENTS on every rank until all have ended.

        However this ends, the TrainJob is deleted; if this process is killed, the cluster
        deletes it with the step's pod, or at its deadline.

        Raises:
            UserError: a rank refused its input, or the cluster will not run such a job.
            RankError: a rank or the job failed; with the last lines.
        """
        cluster = Cluster(self.namespace)
        with stopping_on_sigterm():
            try:
                self._start(cluster, self.manifest(arguments))
                self._follow(cluster, show)
            finally:
                cluster.delete(self.name)

    def manifest(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The TrainJob for these arguments."""
        metadata: dict[str, Any] = {
            "name": self.name,
            "labels": {"app.kubernetes.io/name": "dcvae", "app.kubernetes.io/component": "train"},
            "annotations": {_DIGEST: hashlib.sha256(repr(list(arguments)).encode()).hexdigest()},
        }
        if queue := os.environ.get(QUEUE_VARIABLE):
            metadata["labels"]["kueue.x-k8s.io/queue-name"] = queue
        pod, uid = os.environ.get("KFP_POD_NAME"), os.environ.get("KFP_POD_UID")
        if pod and uid:
            owner = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}
            metadata["ownerReferences"] = [owner]
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "TrainJob",
            "metadata": metadata,
            "spec": {
                "activeDeadlineSeconds": self.deadline,
                "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": self.runtime},
                "trainer": {
                    "command": ["python", "-m", "dcvae.launch.agent", "-m"],
                    "args": list(arguments),
                    "numNodes": self.nodes,
                    "numProcPerNode": self.per_node,
                },
            },
        }

    def _start(self, cluster: Cluster, manifest: dict[str, Any]) -> None:
        """Create the job, or adopt the one an earlier try of the same step has left running."""
        deadline = time.monotonic() + 300
        while True:
            try:
                cluster.create(manifest)
                print(f"TrainJob {self.name}: {self.nodes} nodes x {self.per_node} ranks")
                return
            except Taken:
                found = cluster.get(self.name)
            if found is not None and _same(found, manifest) and not _ended(found):
                print(f"TrainJob {self.name} is running already: following it")
                return
            if time.monotonic() > deadline:
                raise RankError(f"an earlier TrainJob {self.name} cannot be removed")
            cluster.delete(self.name)
            time.sleep(min(1.0, self.poll))

    def _follow(self, cluster: Cluster, show: Callable[[Progress], None]) -> None:
        began, running = time.monotonic(), False
        while True:
            job = cluster.get(self.name)
            if job is None:
                raise RankError(f"TrainJob {self.name} was deleted by somebody else")
            self._tell_warnings(cluster)
            pods = cluster.pods(self.name)
            running = running or any(pod.status.phase != "Pending" for pod in pods)
            for pod in pods[:1]:  # rank 0 tells the progress
                self._tell_progress(cluster, pod, show)
            if _condition(job, "Complete"):
                return
            failed = _condition(job, "Failed")
            if failed is not None:
                self._fail(cluster, pods, failed)
            if not running and time.monotonic() - began > self.start_within:
                raise RankError(
                    f"TrainJob {self.name} has not started within {self.start_within:.0f} s; "
                    "the warnings above say why"
                )
            time.sleep(self.poll)

    def _tell_warnings(self, cluster: Cluster) -> None:
        for identity, reason, message in cluster.warnings(self.name):
            if identity not in self._told:
                self._told.add(identity)
                advice = _ADVICE.get(reason)
                print(f"warning: {reason}: {message}{f' ({advice})' if advice else ''}", flush=True)

    def _tell_progress(self, cluster: Cluster, pod: Any, show: Callable[[Progress], None]) -> None:
        """Show what the pod said since the last look; log lines are in the order of their times."""
        uid = str(pod.metadata.uid)
        last = self._read.get(uid, "")
        since = None if not last else max(10, int(10 * self.poll))
        for line in cluster.log(str(pod.metadata.name), seconds=since).splitlines():
            when, _, text = line.partition(" ")
            if when > last:
                self._read[uid] = when
                message = parse(text)
                if isinstance(message, Progress):
                    show(message)

    def _fail(self, cluster: Cluster, pods: list[Any], reason: str) -> None:
        """Raise the earliest failure that any pod's agent has told."""
        failures: list[Failure] = []
        for pod in pods:
            log = cluster.log(str(pod.metadata.name), lines=200)
            messages = [parse(line) for line in log.splitlines()]
            failures += [message for message in messages if isinstance(message, Failure)]
        if failures:
            raise_failure(min(failures, key=lambda failure: failure.time))
        raise RankError(f"TrainJob {self.name} failed: {reason}")


def _condition(job: dict[str, Any], kind: str) -> str | None:
    """The message of a condition that is true, else None."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == kind and condition["status"] == "True":
            return str(condition.get("message") or condition.get("reason") or kind)
    return None


def _ended(job: dict[str, Any]) -> bool:
    leaving = "deletionTimestamp" in job["metadata"]
    return leaving or any(_condition(job, kind) is not None for kind in ("Complete", "Failed"))


def _same(job: dict[str, Any], manifest: dict[str, Any]) -> bool:
    annotations = job["metadata"].get("annotations", {})
    return bool(annotations.get(_DIGEST) == manifest["metadata"]["annotations"][_DIGEST])
