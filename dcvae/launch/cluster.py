"""The few requests to a Kubernetes API server that following a TrainJob takes."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from dcvae.errors import UserError

T = TypeVar("T")
GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_PATIENCE = 120.0
"""Seconds for which an API server that does not answer is asked again."""


class Taken(Exception):  # noqa: N818
    """There is an object of this name already."""


class Cluster:
    """TrainJobs, pods, events and logs of one namespace.

    Requests are repeated while the server is unreachable or busy, for two minutes at most.

    Raises:
        UserError: there is no configuration for a cluster.
    """

    def __init__(self, namespace: str | None = None) -> None:
        from kubernetes import client

        api, self.namespace = connect(namespace)
        self._errors = client.ApiException
        self._jobs = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)

    def create(self, job: dict[str, Any]) -> dict[str, Any]:
        """Create a TrainJob. Raises Taken when there is one of its name."""
        created: dict[str, Any] = self._asked(
            self._jobs.create_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, PLURAL, job),
        )
        return created

    def get(self, name: str) -> dict[str, Any] | None:
        """The TrainJob, or None."""
        found: dict[str, Any] | None = self._asked(
            self._jobs.get_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, PLURAL, name),
        )
        return found

    def delete(self, name: str) -> None:
        """Delete a TrainJob and all it has started; no error when there is none."""
        self._asked(
            self._jobs.delete_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, PLURAL, name),
            propagation_policy="Foreground",
        )

    def pods(self, job: str) -> list[Any]:
        """The job's pods, by name."""
        selector = f"jobset.sigs.k8s.io/jobset-name={job}"
        found = self._asked(self._core.list_namespaced_pod, self.namespace, label_selector=selector)
        return sorted(found.items, key=lambda pod: str(pod.metadata.name)) if found else []

    def warnings(self, job: str) -> Iterator[tuple[str, str, str]]:
        """(identity, reason, message) of each warning about the job and its parts."""
        found = self._asked(
            self._core.list_namespaced_event, self.namespace, field_selector="type=Warning"
        )
        for event in found.items if found else []:
            name = str(event.involved_object.name)
            if name == job or name.startswith(f"{job}-"):
                yield f"{event.metadata.uid}", str(event.reason), str(event.message or "")

    def log(self, pod: str, seconds: int | None = None, lines: int | None = None) -> str:
        """The end of a pod's log, each line after its time; empty while there is none."""
        options: dict[str, Any] = {"timestamps": True}
        if seconds is not None:
            options["since_seconds"] = seconds
        if lines is not None:
            options["tail_lines"] = lines
        try:
            text = self._asked(self._core.read_namespaced_pod_log, pod, self.namespace, **options)
        except self._errors as error:
            if error.status == 400:  # the container has not started
                return ""
            raise
        return str(text or "")

    def _asked(self, request: Callable[..., T], *arguments: Any, **options: Any) -> Any:
        from urllib3.exceptions import HTTPError

        deadline, pause = time.monotonic() + _PATIENCE, 0.5
        while True:
            try:
                return request(*arguments, _request_timeout=(5, 30), **options)
            except self._errors as error:
                if error.status == 404:
                    return None
                if error.status == 409:
                    raise Taken from None
                if error.status == 403:
                    raise UserError(_forbidden(error)) from None
                if error.status not in (429, 500, 502, 503, 504) or time.monotonic() > deadline:
                    raise
            except HTTPError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 10)


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


def _forbidden(error: Any) -> str:
    import json

    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    return f"the service account may not do this: {message}; apply k8s/base, which has the role"


def _kubeconfig() -> str | None:
    """The file that the environment names now; the client looks only when it is imported."""
    return os.environ.get("KUBECONFIG")


def _current_namespace() -> str:
    from kubernetes import config

    if inside():
        return _OWN_NAMESPACE.read_text().strip()
    _, active = config.list_kube_config_contexts(_kubeconfig())
    return str(active["context"].get("namespace", "default"))
