"""Ranks on a cluster: a Kubeflow TrainJob, followed until it ends, that never outlives its step.

Our TrainingRuntime (k8s/base) defines image, sizes, storage secret and restarts; the job holds only
what differs between runs. Its name is derived from the run folder, so a step that is retried finds
its job instead of starting a second one.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dcvae.environment import (
    RANKS_PER_NODE,
    TRAINING_DEADLINE_SECONDS,
    TRAINING_QUEUE,
    TRAINING_RUNTIME,
    TRAINING_START_SECONDS,
)
from dcvae.errors import UserError
from dcvae.launch.cluster import GROUP, VERSION, Cluster, Taken
from dcvae.launch.follow import Follower
from dcvae.launch.starter import RankError
from dcvae.messages import Progress
from dcvae.processes import stopping_on_sigterm

_DIGEST = "dcvae.dev/arguments"
_QUEUE = "kueue.x-k8s.io/queue-name"
_WEEK = 7 * 24 * 3600
_CLEANING = 20.0
"""Seconds for deleting the job when the step is stopped. Argo kills a pod soon after its SIGTERM,
often within one second, so the deletion comes before anything else."""
_LATE = 300.0
"""Seconds after a job's deadline by which the cluster must have ended it."""
_LEAVING = 300.0
"""Seconds for an earlier job's pods to end: they get 120 for a last checkpoint (k8s/base)."""


def cluster_ranks(out: str, nproc: int) -> "TrainJob | None":
    """Ranks as a TrainJob, if the environment names a training runtime; else None.

    Raises:
        UserError: the ranks do not fill whole nodes.
    """
    runtime = os.environ.get(TRAINING_RUNTIME)
    if not runtime:
        return None
    per_node = min(nproc, int(os.environ.get(RANKS_PER_NODE, "1")))
    if nproc % per_node:
        raise UserError(f"{nproc} ranks do not fill nodes of {per_node}; use a multiple")
    return TrainJob(
        name=f"dcvae-{hashlib.sha256(out.encode()).hexdigest()[:10]}",
        runtime=runtime,
        nodes=nproc // per_node,
        per_node=per_node,
        deadline=int(os.environ.get(TRAINING_DEADLINE_SECONDS, _WEEK)),
        start_within=float(os.environ.get(TRAINING_START_SECONDS, 3600)),
    )


@dataclass
class TrainJob:
    """Starts ranks as one TrainJob in the namespace of this process."""

    name: str
    runtime: str
    nodes: int = 1
    per_node: int = 1
    deadline: int = _WEEK
    """Seconds until the cluster ends the job."""
    start_within: float = 3600
    """Longest time in seconds without a running pod, at the start or later. As for ``deadline``,
    time in a queue does not count."""
    poll: float = 5.0
    namespace: str | None = None

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
        cluster = Cluster(self.namespace, patience=self.deadline)
        with stopping_on_sigterm():
            try:
                self._start(cluster, self.manifest(arguments))
                self._follow(cluster, show)
            finally:
                self._delete(cluster)

    def manifest(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The TrainJob for these arguments."""
        metadata: dict[str, Any] = {
            "name": self.name,
            "labels": {"app.kubernetes.io/name": "dcvae", "app.kubernetes.io/component": "train"},
            "annotations": {_DIGEST: hashlib.sha256(repr(list(arguments)).encode()).hexdigest()},
        }
        if queue := os.environ.get(TRAINING_QUEUE):
            metadata["labels"][_QUEUE] = queue
        if owners := _owners():
            metadata["ownerReferences"] = owners
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
        """Create the job, or adopt the one that an earlier attempt of the same step left running.

        Any other job of its name is deleted first, with its pods, lest two sets write to one run.
        """
        deadline, told = time.monotonic() + _LEAVING, False
        while True:
            found = cluster.get(self.name)
            if found is not None and _same(found, manifest) and not _stopped(found):
                if cluster.own(self.name, manifest["metadata"].get("ownerReferences", [])):
                    print(f"TrainJob {self.name} is running already: following it", flush=True)
                    return
                continue
            if found is not None and "deletionTimestamp" not in found["metadata"]:
                cluster.delete(self.name)
            left = [pod.metadata.name for pod in cluster.pods(self.name)]
            if found is None and not left:
                try:
                    cluster.create(manifest)
                except Taken:  # or the answer was lost: the next look will tell
                    continue
                print(f"TrainJob {self.name}: {self.nodes} nodes x {self.per_node} ranks")
                return
            if time.monotonic() > deadline:
                raise RankError(
                    f"an earlier TrainJob {self.name} does not go ({', '.join(left) or 'no pods'} "
                    "left): see what holds it with kubectl describe"
                )
            if not told:
                told = True
                print(f"waiting for an earlier TrainJob {self.name} and its pods to go", flush=True)
            time.sleep(min(1.0, self.poll))

    def _follow(self, cluster: Cluster, show: Callable[[Progress], None]) -> None:
        """Return once the job is complete; any other end is raised as an error."""
        follower = Follower(cluster, self.name, show, recent=max(10, int(10 * self.poll)))
        began = ran = time.monotonic() - cluster.away
        waiting = False
        while True:
            job = cluster.get(self.name)
            if job is None or "deletionTimestamp" in job["metadata"]:
                raise RankError(f"TrainJob {self.name} was deleted by somebody else")
            pods = follower.look(job)
            if _condition(job, "Complete") is not None:
                return
            failed = _condition(job, "Failed")
            if failed is not None:
                follower.fail(job, failed)
            now = time.monotonic() - cluster.away  # a clock that stops while the server is away
            waiting, before = _suspended(job), waiting
            if waiting:
                began = ran = now
            elif any(pod.status.phase == "Running" for pod in pods):
                ran = now
            if waiting != before:
                print(_queued(job) if waiting else f"TrainJob {self.name} goes on", flush=True)
            if now - ran > self.start_within:
                follower.tell_warnings(job)
                raise RankError(
                    f"no pod of TrainJob {self.name} has run for {self.start_within:.0f} s; "
                    "the warnings above say why"
                )
            if now - began > self.deadline + _LATE:
                raise RankError(
                    f"TrainJob {self.name} goes on past its deadline of {self.deadline} s: "
                    "is Kubeflow Trainer's controller running?"
                )
            time.sleep(self.poll)

    def _delete(self, cluster: Cluster) -> None:
        """Delete the job; a failure to do so must not hide why the training failed."""
        try:
            cluster.delete(self.name, patience=_CLEANING)
        except Exception as error:
            print(
                f"warning: TrainJob {self.name} could not be deleted ({error}); the cluster "
                f"deletes it with this step's pod, and ends it after {self.deadline} s",
                flush=True,
            )


def _owners() -> list[dict[str, Any]]:
    """This step's pod, if it runs in one: the cluster then deletes the job together with it."""
    pod, uid = os.environ.get("KFP_POD_NAME"), os.environ.get("KFP_POD_UID")
    if not pod or not uid:
        return []
    return [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}]


def _queued(job: dict[str, Any]) -> str:
    """A line that says that a suspended job waits, and for what."""
    name, queue = job["metadata"]["name"], job["metadata"].get("labels", {}).get(_QUEUE)
    if queue:
        return f"TrainJob {name} waits in the queue {queue}; no deadline runs meanwhile"
    return f"TrainJob {name} is suspended; no deadline runs until it is resumed"


def _condition(job: dict[str, Any], kind: str) -> str | None:
    """The message of a condition if it is true, else None."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == kind and condition["status"] == "True":
            return str(condition.get("message") or condition.get("reason") or kind)
    return None


def _suspended(job: dict[str, Any]) -> bool:
    """Whether the job is suspended, even if its controller has not reported it yet."""
    return bool(job["spec"].get("suspend")) or _condition(job, "Suspended") is not None


def _stopped(job: dict[str, Any]) -> bool:
    """Whether the job has ended, is being deleted, or was suspended for good."""
    leaving = "deletionTimestamp" in job["metadata"]
    halted = _suspended(job) and _QUEUE not in job["metadata"].get("labels", {})
    ended = any(_condition(job, kind) is not None for kind in ("Complete", "Failed"))
    return leaving or halted or ended


def _same(job: dict[str, Any], manifest: dict[str, Any]) -> bool:
    annotations = job["metadata"].get("annotations", {})
    return bool(annotations.get(_DIGEST) == manifest["metadata"]["annotations"][_DIGEST])
