"""What an API server holds of TrainJobs, and what the controllers of a cluster make of it."""

import time
from datetime import UTC, datetime
from typing import Any

from tests.crds import faults
from tests.launch.answers import refusal

NAME_LABEL = "jobset.sigs.k8s.io/jobset-name"
Answer = tuple[int, Any]


def now() -> str:
    """The time as Kubernetes writes it, in whole seconds."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


class Held:
    """TrainJobs by name, and the pods, events and logs that a test gives them."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.logs: dict[str, list[str]] = {}
        self.grace = 0.0
        """Seconds that pods take to end."""
        self.queue_full = False
        """Whether Kueue lets jobs of a queue wait."""
        self.refuse_creation: Answer | None = None
        self.made_anew: list[str] = []
        """Pods that Kubeflow Trainer has made for a job that was being deleted."""
        self._ends: dict[str, float] = {}

    def add_pod(
        self,
        name: str,
        phase: str,
        job: str,
        uid: str = "",
        containers: tuple[str, ...] = ("node",),
        **status: Any,
    ) -> None:
        metadata = {
            "name": name,
            "uid": uid or name,
            "labels": {NAME_LABEL: job},
        }
        spec = {"containers": [{"name": each} for each in containers]}
        self.pods.append({"metadata": metadata, "spec": spec, "status": {"phase": phase, **status}})

    def add_event(self, name: str, reason: str, message: str, when: str | None = None) -> None:
        number = str(len(self.events))
        self.events.append(
            {
                "metadata": {"name": number, "uid": number, "creationTimestamp": when or now()},
                "involvedObject": {"name": name},
                "reason": reason,
                "message": message,
                "type": "Warning",
            }
        )

    def set_condition(self, kind: str, message: str = "", status: str = "True") -> None:
        (job,) = self.jobs.values()
        self._condition(job, kind, message, status)

    def admit(self) -> None:
        """Kueue lets the job start."""
        (job,) = self.jobs.values()
        job["spec"]["suspend"] = False
        self._condition(job, "Suspended", "TrainJob is resumed", "False", "Resumed")

    def lose(self, owner: str) -> None:
        """The pod with this uid is gone: the cluster deletes what had no other owner."""
        for name, job in list(self.jobs.items()):
            owners = [each["uid"] for each in job["metadata"].get("ownerReferences", [])]
            if owners == [owner]:
                self.delete(name, "Background")

    def create(self, job: dict[str, Any]) -> Answer:
        if self.refuse_creation:
            return self.refuse_creation
        name = job["metadata"]["name"]
        if name in self.jobs:
            exists = f'trainjobs.trainer.kubeflow.org "{name}" already exists'
            return refusal(409, exists, "AlreadyExists")
        if wrong := faults(job):
            return refusal(422, f'TrainJob "{name}" is invalid: {"; ".join(wrong)}')
        job["metadata"] |= {"creationTimestamp": now(), "uid": f"{name}-{len(self.jobs)}"}
        self.jobs[name] = job
        if self.queue_full and "kueue.x-k8s.io/queue-name" in job["metadata"].get("labels", {}):
            self._suspend(job)
        return 201, job

    def patch(self, name: str, kind: str, body: Any) -> Answer:
        if kind != "application/merge-patch+json":
            return refusal(415, f"the body of the request was in an unknown format: {kind}")
        job = self.jobs[name]
        changed = _merged(job, body)
        if wrong := faults(changed, job):
            return refusal(422, f'TrainJob "{name}" is invalid: {"; ".join(wrong)}')
        self.jobs[name] = changed
        if changed["spec"].get("suspend") and not job["spec"].get("suspend"):
            self._suspend(changed)
        return 200, changed

    def _suspend(self, job: dict[str, Any]) -> None:
        job["spec"]["suspend"] = True
        self._condition(job, "Suspended", "TrainJob is suspended")
        self._end_pods(job["metadata"]["name"])

    def delete(self, name: str, propagation: str) -> Answer:
        job = self.jobs[name]
        held = job["metadata"].get("finalizers", [])
        if propagation == "Foreground":
            held = [*held, "foregroundDeletion"]
        if held:
            job["metadata"] |= {"finalizers": sorted(set(held)), "deletionTimestamp": now()}
        else:
            del self.jobs[name]
        self._end_pods(name)
        return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _end_pods(self, job: str) -> None:
        for pod in self._pods_of(job):
            pod["metadata"].setdefault("deletionTimestamp", now())
            self._ends.setdefault(pod["metadata"]["uid"], time.monotonic() + self.grace)

    def _pods_of(self, job: str) -> list[dict[str, Any]]:
        return [pod for pod in self.pods if job in pod["metadata"]["labels"].values()]

    def end_what_is_due(self) -> None:
        """What garbage collector, Job controller and Kubeflow Trainer have done meanwhile."""
        clock = time.monotonic()
        due = {uid for uid, end in self._ends.items() if end <= clock}
        left = [pod for pod in self.pods if pod["metadata"]["uid"] not in due]
        ended = [pod for pod in self.pods if pod["metadata"]["uid"] in due]
        self.pods[:] = left
        for name, job in list(self.jobs.items()):
            if "deletionTimestamp" not in job["metadata"] or self._pods_of(name):
                continue
            mine = [pod for pod in ended if name in pod["metadata"]["labels"].values()]
            if mine and not job["spec"].get("suspend") and not self.made_anew:
                for pod in mine:  # it does not look whether the job is being deleted
                    made = pod["metadata"]["name"] + "-anew"
                    self.add_pod(made, "Running", name)
                    self.made_anew.append(made)
                self._end_pods(name)
                continue
            finalizers = job["metadata"]["finalizers"]
            if "foregroundDeletion" in finalizers:
                finalizers.remove("foregroundDeletion")
            if not finalizers:
                del self.jobs[name]

    @staticmethod
    def _condition(
        job: dict[str, Any], kind: str, message: str, status: str = "True", reason: str = ""
    ) -> None:
        made = {"type": kind, "status": status, "reason": reason or kind, "message": message}
        kept = [
            each for each in job.get("status", {}).get("conditions", []) if each["type"] != kind
        ]
        job["status"] = {"conditions": [*kept, {**made, "lastTransitionTime": now()}]}


def _merged(thing: Any, change: Any) -> Any:
    """RFC 7386: what a merge patch makes of ``thing``."""
    if not isinstance(change, dict):
        return change
    made = dict(thing) if isinstance(thing, dict) else {}
    for name, value in change.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = _merged(made.get(name), value)
    return made
