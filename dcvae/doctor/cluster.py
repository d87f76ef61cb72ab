"""Checks what a cluster lacks for trainings, before one is started: ``dcvae doctor --cluster``."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dcvae.doctor.finding import Finding
from dcvae.environment import TRAINING_QUEUE, TRAINING_RUNTIME
from dcvae.errors import UserError
from dcvae.launch.cluster import GROUP, PLURAL, VERSION, connect, inside, message

STEPS_ACCOUNT = "pipeline-runner"
"""Service account of pipeline steps in Kubeflow's own namespace."""
USERS_ACCOUNT = "default-editor"
"""Service account of pipeline steps in users' namespaces, if Kubeflow is multi-user."""
_KUBEFLOW = "kubeflow"
"""Kubeflow's namespace if it is multi-user."""
_RANKS_ACCOUNT = "dcvae-trainer"
_ROLE = "eks.amazonaws.com/role-arn"
_OLDEST = (1, 31)
_TIMEOUT = (5, 15)


@dataclass(frozen=True)
class _Right:
    verb: str
    group: str
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


# The rights that dcvae.launch.cluster needs; k8s/base grants them.
RIGHTS = (
    *(_Right(verb, GROUP, PLURAL) for verb in ("create", "get", "patch", "delete")),
    _Right("list", "", "pods"),
    _Right("get", "", "pods/log"),
    _Right("list", "", "events"),
)


def cluster(namespace: str | None = None) -> Iterator[Finding]:
    """Server, Kubeflow, our objects, and the rights of the steps' service account."""
    from kubernetes import client
    from urllib3.exceptions import HTTPError

    try:
        api, where = connect(namespace)
        yield _server(api)
    except UserError as error:
        yield Finding("fail", "cluster", str(error))
        return
    except (client.ApiException, HTTPError) as error:
        yield Finding("fail", "cluster", f"the API server does not answer: {message(error)}")
        return
    for part in (_kinds, _objects, _identities, _rights):
        try:
            yield from part(api, where)
        except (client.ApiException, HTTPError) as error:
            yield Finding("fail", "cluster", f"the API server refuses: {message(error)}")


def _server(api: Any) -> Finding:
    from kubernetes import client

    try:
        found = client.VersionApi(api).get_code(_request_timeout=_TIMEOUT)
    except client.ApiException as error:
        if error.status not in (403, 404):
            raise
        found = None
    told = (found.major, found.minor) if found else ("", "")
    numbers = [re.match(r"\d+", text or "") for text in told]
    if not all(numbers):
        return Finding("note", "cluster", "the server does not tell its version: 1.31 is needed")
    text = f"Kubernetes {found.git_version}"
    if tuple(int(number[0]) for number in numbers if number) < _OLDEST:
        return Finding("fail", "cluster", f"{text} is too old: 1.31 is needed")
    return Finding("ok", "cluster", text)


def _kinds(api: Any, where: str) -> Iterator[Finding]:
    """The custom resources that the operators define."""
    from kubernetes import client

    custom = client.CustomObjectsApi(api)
    queued = bool(os.environ.get(TRAINING_QUEUE))
    wanted = (
        ("trainer", GROUP, VERSION, PLURAL, True, "Kubeflow Trainer 2.3"),
        ("jobset", "jobset.x-k8s.io", "v1alpha2", "jobsets", True, "JobSet (a part of Trainer)"),
        ("pipelines", "argoproj.io", "v1alpha1", "workflows", True, "Kubeflow Pipelines 2.17"),
        ("kueue", "kueue.x-k8s.io", "v1beta2", "localqueues", queued, "Kueue"),
        ("metrics", "monitoring.coreos.com", "v1", "podmonitors", False, "a Prometheus operator"),
    )
    for subject, group, version, plural, needed, what in wanted:
        listed = _found(
            lambda g, v: custom.get_api_resources(g, v, _request_timeout=_TIMEOUT), group, version
        )
        if listed is not None and any(each.name == plural for each in listed.resources):
            yield Finding("ok", subject, f"{plural}.{group}/{version}")
        elif needed:
            yield Finding("fail", subject, f"no {plural}.{group}/{version}: install {what}")
        else:
            yield Finding("note", subject, f"no {plural}.{group}: {what} is not installed")


def _objects(api: Any, where: str) -> Iterator[Finding]:
    """The objects that k8s/base and an administrator create in the namespace."""
    from kubernetes import client

    core, custom = client.CoreV1Api(api), client.CustomObjectsApi(api)
    config = _found(core.read_namespaced_config_map, "dcvae-cluster", where)
    data = (config.data or {}) if config else {}
    runtime = data.get(TRAINING_RUNTIME, "dcvae")
    account = _account(core, where)
    home = where if account == STEPS_ACCOUNT else _KUBEFLOW

    def training_runtime(name: str, namespace: str) -> Any:
        return custom.get_namespaced_custom_object(
            GROUP, VERSION, namespace, "trainingruntimes", name
        )

    wanted: tuple[tuple[str, str, Any, bool, str], ...] = (
        ("service", "ml-pipeline", core.read_namespaced_service, True, "is Kubeflow elsewhere?"),
        ("configmap", "dcvae-cluster", lambda *_: config, True, "apply an overlay of k8s/"),
        ("runtime", runtime, training_runtime, True, "apply an overlay of k8s/"),
        ("account", account, core.read_namespaced_service_account, True, "it is Kubeflow's"),
        (
            *("secret", "dcvae-storage", core.read_namespaced_secret, False),
            "right only where the cloud gives pods an identity",
        ),
    )
    for subject, name, read, needed, advice in wanted:
        place = home if subject == "service" else where
        try:
            there = _found(read, name, place) is not None
        except client.ApiException as error:
            if error.status != 403:
                raise
            yield Finding("note", subject, f"{name} in {place}: you may not look")
            continue
        if there:
            yield Finding("ok", subject, f"{name} in {place}")
        else:
            level: Any = "fail" if needed else "note"
            yield Finding(level, subject, f"no {name} in {place}; {advice}")


def _identities(api: Any, where: str) -> Iterator[Finding]:
    """Without a Secret, the cloud must give identities to both the ranks and the steps."""
    from kubernetes import client

    core = client.CoreV1Api(api)
    try:
        if _found(core.read_namespaced_secret, "dcvae-storage", where) is not None:
            return
        accounts = (_RANKS_ACCOUNT, _account(core, where))
        roles = [_role(core, name, where) for name in accounts]
    except client.ApiException as error:
        if error.status != 403:
            raise
        return  # already reported: the user may not look
    if all(roles):
        yield Finding("ok", "identity", f"{' and '.join(accounts)} have roles")
    elif any(roles):
        lacking, having = accounts if roles[1] else accounts[::-1]
        yield Finding(
            "fail",
            "identity",
            f"{lacking} in {where} has no role for the storage, and {having} has; annotate it with "
            f"{_ROLE} (component irsa)",
        )


def _role(core: Any, account: str, where: str) -> str | None:
    found = _found(core.read_namespaced_service_account, account, where)
    annotations = (found.metadata.annotations or {}) if found and found.metadata else {}
    return annotations.get(_ROLE)


def _account(core: Any, where: str) -> str:
    """The steps' account: that of multi-user Kubeflow, if the namespace has it."""
    from kubernetes import client

    try:
        found = _found(core.read_namespaced_service_account, USERS_ACCOUNT, where)
    except client.ApiException:  # the user may not look
        found = None
    return STEPS_ACCOUNT if found is None else USERS_ACCOUNT


def _rights(api: Any, where: str) -> Iterator[Finding]:
    """Whether the steps' account has the rights that following a TrainJob takes."""
    from kubernetes import client

    steps = _account(client.CoreV1Api(api), where)
    missing = [str(right) for right in RIGHTS if not _allowed(api, where, steps, right)]
    account = "this pod's account" if inside() else f"{steps} in {where}"
    if missing:
        lacking = ", ".join(missing)
        yield Finding("fail", "rights", f"{account} may not {lacking}; apply an overlay of k8s/")
    else:
        yield Finding("ok", "rights", f"{account} may start, follow and delete trainings")


def _allowed(api: Any, where: str, account: str, right: _Right) -> bool:
    from kubernetes import client

    review = client.AuthorizationV1Api(api)
    resource, _, sub = right.resource.partition("/")
    asked = client.V1ResourceAttributes(
        namespace=where, verb=right.verb, group=right.group, resource=resource, subresource=sub
    )
    if inside():
        own = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=asked)
        )
        answer = review.create_self_subject_access_review(own, _request_timeout=_TIMEOUT)
    else:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{where}"]
        spec = client.V1SubjectAccessReviewSpec(
            user=f"system:serviceaccount:{where}:{account}",
            groups=[*groups, "system:authenticated"],
            resource_attributes=asked,
        )
        other = client.V1SubjectAccessReview(spec=spec)
        answer = review.create_subject_access_review(other, _request_timeout=_TIMEOUT)
    return bool(answer.status.allowed)


def _found(read: Callable[..., Any], *arguments: str) -> Any:
    """The answer of ``read``, or None if the object does not exist."""
    from kubernetes import client

    try:
        return read(*arguments)
    except client.ApiException as error:
        if error.status == 404:
            return None
        raise
