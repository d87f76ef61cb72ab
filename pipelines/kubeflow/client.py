"""A Kubeflow Pipelines server, which runs and keeps pipelines and schedules."""

import json
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from dcvae.errors import UserError

HOST_VARIABLE = "KF_PIPELINES_ENDPOINT"
_PAGE = 100


class Kubeflow:
    """KFP's own client, with errors that say what to do.

    Args:
        host: address of the API or of the UI in front of it. Default: the environment's
            KF_PIPELINES_ENDPOINT, the cluster this runs in, or kubectl's current context.
        namespace: the user's, if Kubeflow is multi-user.

    If Kubeflow requires authentication, a token is read for each request from the file that the
    environment's KF_PIPELINES_SA_TOKEN_PATH names, or from where Kubeflow puts a pod's token.

    Raises:
        UserError: nothing answers there, or not Kubeflow Pipelines; or the token's file is missing.
    """

    def __init__(self, host: str | None = None, namespace: str | None = None) -> None:
        host = host or os.environ.get(HOST_VARIABLE)
        if host:
            _check(host)
        import kfp

        self.host = (host or "").rstrip("/")
        self.namespace = namespace
        with warnings.catch_warnings(), asked(host or "kubectl's current context"):
            warnings.simplefilter("ignore")  # about Kubeflow Pipelines 1
            self.client = kfp.Client(
                host=host, namespace=namespace or "kubeflow", credentials=_credentials()
            )

    @property
    def address(self) -> str:
        """The address of its web pages."""
        return f"{self.host}/#" if self.host else "/pipeline/#"

    def experiment(self, name: str) -> str:
        """The ID of the experiment ``name``, which is created if it does not exist."""
        with asked(self.host):
            return str(self.client.create_experiment(name, namespace=self.namespace).experiment_id)


def every(field: str, request: Callable[..., Any]) -> Iterator[Any]:
    """All items of a paged list."""
    token = ""
    while True:
        page = request(page_token=token, page_size=_PAGE)
        yield from getattr(page, field) or []
        token = page.next_page_token
        if not token:
            return


def named(name: str, key: str = "display_name") -> str:
    """A filter for KFP's lists: items whose ``key`` is ``name``."""
    predicate = {"operation": "EQUALS", "key": key, "stringValue": name}
    return json.dumps({"predicates": [predicate]})


@contextmanager
def asked(host: str) -> Iterator[None]:
    """Wraps requests: suppresses the client's own output, and says what went wrong.

    Raises:
        UserError: the server refused, or could not be reached.
    """
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    try:
        with redirect_stdout(StringIO()):
            yield
    except ApiException as error:
        raise UserError(f"Kubeflow Pipelines refused: {_reason(error)}") from None
    except (HTTPError, TimeoutError) as error:
        raise UserError(f"Kubeflow Pipelines at {host} cannot be reached: {error}") from None
    except ValueError as error:  # refused by the client itself
        raise UserError(f"Kubeflow Pipelines: {error}") from None


def _reason(error: Any) -> str:
    try:
        content = json.loads(error.body)
        said = str(content.get("message") or content["error"]).strip()
    except (TypeError, ValueError, KeyError):
        said = f"{error.status} {error.reason}"
    if error.status == 401:
        said += "; name the file of a token in KF_PIPELINES_SA_TOKEN_PATH"
    return said


def _credentials() -> Any:
    """This pod's or person's token for Kubeflow Pipelines, or None."""
    from kfp import client

    named = os.environ.get(client.KF_PIPELINES_SA_TOKEN_ENV)
    path = Path(named or client.KF_PIPELINES_SA_TOKEN_PATH)
    if path.is_file():
        return client.ServiceAccountTokenVolumeCredentials(str(path))
    if named:
        raise UserError(f"{client.KF_PIPELINES_SA_TOKEN_ENV} names {named}, which is no file")
    return None


def _check(host: str) -> None:
    """Fail within seconds, where the client would try for half a minute."""
    if not host.startswith(("http://", "https://")):
        raise UserError(f"the host {host} must begin with http:// or https://")
    url = f"{host.rstrip('/')}/apis/v2beta1/healthz"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            json.load(answer)
    except ValueError:
        raise UserError(
            f"{host} answers with a page, for people to log in; use an address behind it, such as "
            "http://ml-pipeline.kubeflow:8888 from within the cluster"
        ) from None
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise UserError(f"{host} is not Kubeflow Pipelines: it has no {url}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"Kubeflow Pipelines does not answer at {host} ({reason}); is a port forwarded? "
            "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"
        ) from None
