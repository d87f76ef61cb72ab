"""Reports what a TrainJob's pods, events and logs say: each thing once, and what to do about it."""

import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Never

from dcvae.errors import UserError
from dcvae.launch.cluster import CONTAINER, Cluster
from dcvae.launch.starter import RankError, error_of
from dcvae.messages import Failure, Notice, Progress, ordinary, parse
from dcvae.terminal import printable

_LAST_LINES = 200
_EVENTS_SECONDS = 30.0
"""Seconds between two looks at the namespace's events, of which there may be thousands."""
_IMAGE = "the image cannot be pulled: check its name, tag and pull secret"
# Reason of an event, pattern of its message, and advice. The first that matches is printed.
_ADVICE = (
    ("FailedScheduling", "", "no node has room: free some, ask for less, or add nodes"),
    ("FailedCreate", "exceeded quota", "wait for other trainings, ask for less, or have it raised"),
    ("FailedCreate", "", "the namespace's policies refuse the pods"),
    ("TrainJobResourcesCreationFailed", "", "the training runtime cannot be used as it is"),
    ("Failed|BackOff|InspectFailed", "(?i)pull|InvalidImageName", _IMAGE),
    ("Failed", "(?i)(secret|configmap) .*not found", "create it in this namespace"),
    ("BackOff", "", "a container ends as soon as it starts"),
    ("FailedMount", "", "a volume or a secret is missing"),
)


class Follower:
    """Reports what is new about one TrainJob at each look.

    Args:
        cluster: where the job is.
        name: the job's name.
        show: called with rank 0's progress.
        recent: seconds of the log to read at each look, more than the time between looks; a longer
            pause extends it.
    """

    def __init__(
        self, cluster: Cluster, name: str, show: Callable[[Progress], None], recent: int
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.show = show
        self.recent = recent
        self._read: dict[str, str] = {}
        self._told: set[str] = set()
        self._next_events = 0.0
        self._looked = time.monotonic()
        self._causes: dict[str, tuple[float, Exception]] = {}

    def look(self, job: dict[str, Any]) -> list[Any]:
        """Report warnings, progress and failed pods; return the job's current pods.

        Raises:
            UserError: a rank refused its input.
        """
        if time.monotonic() >= self._next_events:
            self.tell_warnings(job)
            self._next_events = time.monotonic() + _EVENTS_SECONDS
        pods = self.cluster.pods(self.name)
        leader = f"{self.name}-node-0-0"
        since = self.recent + int(time.monotonic() - self._looked)
        for pod in pods:
            if pod.metadata.name == leader or pod.metadata.name.startswith(f"{leader}-"):
                self._tell_progress(pod, since)
        self._looked = time.monotonic()
        self._tell_failures([pod for pod in pods if pod.status.phase == "Failed"])
        return pods

    def fail(self, job: dict[str, Any], reason: str) -> Never:
        """Raise RankError with the earliest failure among the pods that failed last."""
        self.tell_warnings(job)
        ended = f"TrainJob {self.name} failed: {reason}"
        if self._causes:
            _, error = min(self._causes.values(), key=lambda cause: cause[0])
            ended = f"{error}\n{ended}"
        raise RankError(ended)

    def tell_warnings(self, job: dict[str, Any]) -> None:
        """Report warnings of this job, not those that an earlier one of the same name has left."""
        since = str(job["metadata"].get("creationTimestamp", ""))
        began = datetime.fromisoformat(since) if since else None
        for event in self.cluster.warnings(self.name):
            made, identity = event.metadata.creation_timestamp, str(event.metadata.uid)
            if identity in self._told or (began and made and made < began):
                continue
            self._told.add(identity)
            print(f"warning: {event.reason}: {event.message}{_advice(event)}", flush=True)

    def _tell_progress(self, pod: Any, since: int) -> None:
        """Show what the pod has logged since the last look; its lines are in order of time."""
        uid = str(pod.metadata.uid)
        last = self._read.get(uid, "")
        text = self.cluster.log(pod.metadata.name, seconds=since if last else None)
        for line in text.splitlines():
            when, _, said = line.partition(" ")
            if when > last:
                self._read[uid] = when
                message = parse(said)
                if isinstance(message, Progress):
                    self.show(message)
                elif isinstance(message, Notice):
                    print(f"warning: {printable(message.text)}", flush=True)

    def _tell_failures(self, failed: list[Any]) -> None:
        """Remember why pods failed, since they vanish when their set is recreated.

        Raises:
            UserError: a rank refused its input, and would do so again.
        """
        if not failed:
            return
        known = self._causes
        self._causes = {}
        for pod in failed:
            uid = str(pod.metadata.uid)
            self._causes[uid] = known.get(uid) or self._cause(pod)
            error = self._causes[uid][1]
            if isinstance(error, UserError):
                raise error
            if uid not in known:
                print(f"warning: {pod.metadata.name}: {error}", flush=True)

    def _cause(self, pod: Any) -> tuple[float, Exception]:
        """(when, why) a pod failed: according to its agent or, if that was killed, Kubernetes."""
        log = self.cluster.log(pod.metadata.name, lines=_LAST_LINES)
        said = [line.partition(" ")[2] for line in log.splitlines()]
        failures = [failure for line in said if isinstance(failure := parse(line), Failure)]
        if failures:
            first = min(failures, key=lambda failure: failure.time)
            return first.time, error_of(first)
        ended = _termination(pod)
        when = ended.finished_at.timestamp() if ended and ended.finished_at else float("inf")
        reasons = [pod.status.reason, pod.status.message]
        if ended:
            reasons += [ended.reason, f"exit code {ended.exit_code}"]
        why = ", ".join(str(reason) for reason in reasons if reason) or "no reason is known"
        lines = "".join(f"\n  | {printable(line)}" for line in ordinary(said)[-10:])
        return when, RankError(f"the pod failed: {why}. Its last lines:{lines or ' (none)'}")


def _advice(event: Any) -> str:
    for reason, pattern, advice in _ADVICE:
        if re.fullmatch(reason, event.reason or "") and re.search(pattern, event.message or ""):
            return f" ({advice})"
    return ""


def _termination(pod: Any) -> Any:
    """How the ranks' container ended, or None."""
    for container in pod.status.container_statuses or []:
        if container.name == CONTAINER and container.state and container.state.terminated:
            return container.state.terminated
    return None
