"""The few requests to a Kubernetes API server that following a TrainJob takes."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from dcvae.errors import UserError
from dcvae.launch.starter import RankError
from dcvae.progress import duration

T = TypeVar("T")
GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
CONTAINER = "node"
"""Where Kubeflow Trainer runs the ranks. A pod may have others, such as a service mesh's."""
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_PATIENCE = 120.0
"""Seconds for which an API server that has never answered is asked again."""
_TELLING = 15.0
"""Seconds of silence after which people are told."""
_PASSING = (408, 410, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed."""
_NO_TIME = (1, 2)
"""Seconds for a connection and for its answer, where a stopped step has one second in all."""


class Taken(Exception):  # noqa: N818
    """There is an object of this name already."""


class Cluster:
    """TrainJobs, pods, events and logs of one namespace.

    Requests are repeated while the server is unreachable or busy: for two minutes, or once it has
    answered, for ``patience`` seconds. That is said, because nothing else will be meanwhile.

    Raises:
        UserError: there is no configuration for a cluster. From every method: the cluster will
            not have it; the sentence says what is missing.
        RankError: from every method: the server does not answer, or answers nonsense.
    """

    def __init__(self, namespace: str | None = None, patience: float = _PATIENCE) -> None:
        from kubernetes import client

        api, self.namespace = connect(namespace)
        self.away = 0.0
        """Seconds that have been spent waiting for the server in all."""
        self._patience = patience
        self._answered = False
        self._errors = client.ApiException
        self._jobs = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)

    def create(self, job: dict[str, Any]) -> None:
        """Create a TrainJob. Raises Taken when there is one of its name."""
        self._asked(
            self._jobs.create_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, PLURAL, job),
            nothing=(),
        )

    def get(self, name: str) -> dict[str, Any] | None:
        """The TrainJob, or None."""
        found: dict[str, Any] | None = self._asked(
            self._jobs.get_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, PLURAL, name),
        )
        return found

    def own(self, name: str, owners: list[dict[str, Any]]) -> bool:
        """Make ``owners`` the TrainJob's only ones: the cluster deletes it when they are gone.

        False when there is no such job any more.
        """
        found = self._asked(
            self._jobs.patch_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, PLURAL, name),
            {"metadata": {"ownerReferences": owners}},
        )
        return found is not None

    def delete(self, name: str, patience: float | None = None) -> None:
        """Delete a TrainJob and all it has started; no error when there is none.

        Its pods go after it, with their time for a checkpoint. It is suspended first: Kubeflow
        Trainer makes the pods of a job anew for as long as it is there, deleted or not.
        """
        from kubernetes import client
        from urllib3.exceptions import HTTPError

        where = (GROUP, VERSION, self.namespace, PLURAL, name)
        with suppress(client.ApiException, HTTPError):  # it matters less than what comes next
            self._jobs.patch_namespaced_custom_object(
                *where, {"spec": {"suspend": True}}, _request_timeout=_NO_TIME
            )
        self._asked(
            self._jobs.delete_namespaced_custom_object,
            *where,
            patience=patience,
            propagation_policy="Background",
        )

    def pods(self, job: str) -> list[Any]:
        """The job's pods, by name."""
        selector = f"jobset.sigs.k8s.io/jobset-name={job}"
        found = self._asked(self._core.list_namespaced_pod, self.namespace, label_selector=selector)
        return sorted(found.items, key=lambda pod: str(pod.metadata.name)) if found else []

    def warnings(self, job: str) -> Iterator[Any]:
        """Events that warn about the job and its parts."""
        found = self._asked(
            self._core.list_namespaced_event, self.namespace, field_selector="type=Warning"
        )
        for event in found.items if found else []:
            name = str(event.involved_object.name)
            if name == job or name.startswith(f"{job}-"):
                yield event

    def log(self, pod: str, seconds: int | None = None, lines: int | None = None) -> str:
        """The end of what a pod's ranks said, each line after its time; empty while there is none.

        Raises:
            UserError: the pod has no container for ranks, so the training runtime is none of ours.
        """
        options: dict[str, Any] = {"timestamps": True, "container": CONTAINER}
        if seconds is not None:
            options["since_seconds"] = seconds
        if lines is not None:
            options["tail_lines"] = lines
        text = self._asked(
            self._core.read_namespaced_pod_log,
            *(pod, self.namespace),
            nothing=(400, 404),  # the container has not started
            **options,
        )
        return str(text or "")

    def _asked(
        self,
        request: Callable[..., T],
        *arguments: Any,
        patience: float | None = None,
        nothing: tuple[int, ...] = (404,),
        **options: Any,
    ) -> Any:
        """What the server answers; None where its status is one of ``nothing``."""
        from urllib3.exceptions import HTTPError

        if patience is None:
            patience = self._patience if self._answered else min(_PATIENCE, self._patience)
        began, pause, told = time.monotonic(), 0.5, False
        while True:
            try:
                answer = request(*arguments, _request_timeout=(5, 30), **options)
                self._heard(began, told)
                return answer
            except self._errors as error:
                if not _passing(error):
                    self._heard(began, told)
                    if error.status in nothing and not _no_container(error):
                        return None
                    raise _explained(error, self.namespace) from None
                reason = message(error)
            except HTTPError as error:
                reason = str(error)
            waited = time.monotonic() - began
            if waited > patience:
                raise RankError(f"the API server has not answered for {patience:.0f} s: {reason}")
            if waited > _TELLING and not told:
                told = True
                print(
                    f"warning: the API server does not answer ({reason}); the training may go on "
                    f"without it, and it is asked again for up to {duration(patience)}",
                    flush=True,
                )
            time.sleep(pause)
            pause = min(2 * pause, 10)

    def _heard(self, began: float, told: bool) -> None:
        """The server has answered a request that was first made at ``began``."""
        self._answered = True
        waited = time.monotonic() - began
        if waited > _TELLING:
            self.away += waited
        if told:
            print(f"the API server answers again, after {duration(waited)}", flush=True)


def connect(namespace: str | None = None) -> tuple[Any, str]:
    """A client of the API server, and the namespace: the pod's, or of kubectl's current context.

    Raises:
        UserError: there is no configuration for a cluster.
    """
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        try:
            config.load_kube_config(_kubeconfig(), client_configuration=settings)
        except config.ConfigException as error:
            raise UserError(f"there is no cluster to start ranks on: {error}") from None
    settings.retries = False  # repeating is done here, where it is known what may be repeated
    return client.ApiClient(settings), namespace or _current_namespace()


def inside() -> bool:
    """Whether this process runs in a pod."""
    return _OWN_NAMESPACE.exists()


def message(error: Any) -> str:
    """What the API server says about an error, or failing that its status."""
    try:
        return str(json.loads(error.body)["message"])
    except (AttributeError, TypeError, ValueError, KeyError):
        return str(getattr(error, "reason", None) or error)


def _passing(error: Any) -> bool:
    """Whether the same request may succeed later: a server is busy, or two writers met."""
    return error.status in _PASSING or (error.status == 409 and _word(error) == "Conflict")


def _no_container(error: Any) -> bool:
    """Whether a log was asked for that the pod cannot have, rather than one it has not yet."""
    return error.status == 400 and "is not valid for pod" in message(error)


def _word(error: Any) -> str:
    """The server's own word for the kind of error, such as AlreadyExists."""
    try:
        return str(json.loads(error.body).get("reason") or "")
    except (AttributeError, TypeError, ValueError):
        return ""


def _explained(error: Any, namespace: str) -> Exception:
    """What to raise when the server refuses a request: it would refuse it again."""
    said = message(error)
    if error.status == 409:
        return Taken()
    if error.status == 400 and _no_container(error):
        return UserError(
            f"the training runtime has no container {CONTAINER!r}, in which ranks run: {said}; "
            "use the one of k8s/base"
        )
    if error.status == 401:
        return UserError(f"the API server does not know this account: {said}; log in again")
    if error.status == 403 and " cannot " in said:  # the words of its access control
        return UserError(
            f"the service account may not do this: {said}; "
            "apply an overlay of k8s/, whose role dcvae-steps has all it takes"
        )
    if error.status == 404 and "namespaces" in said:
        return UserError(f"there is no namespace {namespace}: create it, or choose another")
    if error.status == 404:
        return UserError(
            f"the cluster knows no {PLURAL}.{GROUP}/{VERSION}: install Kubeflow Trainer 2.3; "
            "dcvae doctor --cluster says what else is missing"
        )
    return UserError(f"the cluster refuses the TrainJob: {said}")


def _kubeconfig() -> str | None:
    """The file that the environment names now; the client looks only when it is imported."""
    return os.environ.get("KUBECONFIG")


def _current_namespace() -> str:
    from kubernetes import config

    if inside():
        return _OWN_NAMESPACE.read_text().strip()
    _, active = config.list_kube_config_contexts(_kubeconfig())
    return str(active["context"].get("namespace", "default"))
