"""The few requests to the Kubernetes API server that running a TrainJob takes."""

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
"""The container in which ranks run. A pod may have others, such as a service mesh's."""
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_PATIENCE = 120.0
"""Seconds for which requests are retried if the API server has never answered."""
_TELLING = 15.0
"""Seconds of silence before a warning is printed."""
_PASSING = (408, 410, 429, 500, 502, 503, 504)
"""Statuses after which the same request may still succeed."""
_NO_TIME = (1, 2)
"""Timeouts, in seconds, of a connection and its answer when a stopped step has only one second."""


class Taken(Exception):  # noqa: N818
    """An object of this name exists already."""


class Cluster:
    """TrainJobs, pods, events and logs of one namespace.

    Requests are retried while the server is unreachable or busy: for two minutes or, once it has
    answered, for ``patience`` seconds. A warning says so, since nothing else is printed meanwhile.

    Raises:
        UserError: there is no configuration for a cluster; from any method: the cluster refuses
            the request, and the message says what is missing.
        RankError: from any method: the server does not answer, or its answer makes no sense.
    """

    def __init__(self, namespace: str | None = None, patience: float = _PATIENCE) -> None:
        from kubernetes import client

        api, self.namespace = connect(namespace)
        self.away = 0.0
        """Total seconds spent waiting for the server."""
        self._patience = patience
        self._answered = False
        self._errors = client.ApiException
        self._jobs = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)

    def create(self, job: dict[str, Any]) -> None:
        """Create a TrainJob. Raises Taken if one of its name exists."""
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
        """Make ``owners`` the TrainJob's only owners: the cluster deletes it when they are gone.

        Returns False if the job no longer exists.
        """
        found = self._asked(
            self._jobs.patch_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, PLURAL, name),
            {"metadata": {"ownerReferences": owners}},
        )
        return found is not None

    def delete(self, name: str, patience: float | None = None) -> None:
        """Delete a TrainJob and all it has started; no error if there is none.

        Its pods end after it, with time for a checkpoint. It is suspended first, because Kubeflow
        Trainer recreates the pods of a job as long as it exists, even while it is being deleted.
        """
        from kubernetes import client
        from urllib3.exceptions import HTTPError

        where = (GROUP, VERSION, self.namespace, PLURAL, name)
        with suppress(client.ApiException, HTTPError):  # the deletion below matters more
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
        """Warning events about the job and its parts."""
        found = self._asked(
            self._core.list_namespaced_event, self.namespace, field_selector="type=Warning"
        )
        for event in found.items if found else []:
            name = str(event.involved_object.name)
            if name == job or name.startswith(f"{job}-"):
                yield event

    def log(self, pod: str, seconds: int | None = None, lines: int | None = None) -> str:
        """The end of a pod's log, each line preceded by its time; empty while there is none.

        Raises:
            UserError: the pod has no container for ranks, so the training runtime is not ours.
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
        """The server's answer; None if its status is one of ``nothing``.

        A loop of our own: urllib3's retries know nothing of a patience that depends on earlier
        answers, of warnings meanwhile, or of the time away that deadlines leave out.
        """
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
        """Note that the server has answered a request first made at ``began``."""
        self._answered = True
        waited = time.monotonic() - began
        if waited > _TELLING:
            self.away += waited
        if told:
            print(f"the API server answers again, after {duration(waited)}", flush=True)


def connect(namespace: str | None = None) -> tuple[Any, str]:
    """A client of the API server, and the namespace: the pod's, or kubectl's current one.

    Raises:
        UserError: there is no configuration for a cluster.
    """
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            config.load_kube_config(_kubeconfig(), client_configuration=configuration)
        except config.ConfigException as error:
            raise UserError(f"there is no cluster to start ranks on: {error}") from None
    configuration.retries = False  # we retry, knowing which requests may be repeated
    return client.ApiClient(configuration), namespace or _current_namespace()


def inside() -> bool:
    """Whether this process runs in a pod."""
    return _OWN_NAMESPACE.exists()


def message(error: Any) -> str:
    """What the API server says about an error, or else its status."""
    try:
        return str(json.loads(error.body)["message"])
    except (AttributeError, TypeError, ValueError, KeyError):
        return str(getattr(error, "reason", None) or error)


def _passing(error: Any) -> bool:
    """Whether the same request may succeed later: the server is busy, or two writers collided."""
    return error.status in _PASSING or (error.status == 409 and _word(error) == "Conflict")


def _no_container(error: Any) -> bool:
    """Whether the pod can never have the requested log, as opposed to not having it yet."""
    return error.status == 400 and "is not valid for pod" in message(error)


def _word(error: Any) -> str:
    """The server's own word for the kind of error, such as AlreadyExists."""
    try:
        return str(json.loads(error.body).get("reason") or "")
    except (AttributeError, TypeError, ValueError):
        return ""


def _explained(error: Any, namespace: str) -> Exception:
    """The error for a request that the server refuses and would refuse again."""
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
    """The file that the environment names now; the client only looks when it is imported."""
    return os.environ.get("KUBECONFIG")


def _current_namespace() -> str:
    from kubernetes import config

    if inside():
        return _OWN_NAMESPACE.read_text().strip()
    _, active = config.list_kube_config_contexts(_kubeconfig())
    return str(active["context"].get("namespace", "default"))
