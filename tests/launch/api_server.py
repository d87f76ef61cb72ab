"""A small Kubernetes API server: TrainJobs, and the pods, events and logs that a test gives it.

The client talks to it over HTTP as to a real one. It refuses what a real one refuses (fields,
rights, logs of a container that is not named) and takes its time where that does: pods end after
their grace, and while a job is being deleted Kubeflow Trainer makes its set anew once. Whatever
else a controller would do, the test does, by changing ``jobs``, ``pods``, ``events``, ``logs``.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.launch.answers import refusal
from tests.launch.held import Answer, Held

NAMESPACE = "team"
JOBS = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
REVIEWS = "/apis/authorization.k8s.io/v1"
BASE = Path(__file__).parent.parent.parent / "k8s" / "base"


def granted() -> set[str]:
    """What the role of k8s/base allows, as "verb resource" or "verb resource.group"."""
    return {
        f"{verb} {resource}" + (f".{group}" if group else "")
        for role in yaml.safe_load_all((BASE / "access.yaml").read_text())
        if role["kind"] == "Role"
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


class ApiServer(Held):
    """The server and what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, Any] = {}
        """Answers to GET, by path: whatever else a test needs there to be."""
        self.rights: set[str] = set()
        """What ``account`` may do."""
        self.account = "pipeline-runner"
        self.strict = False
        """Whether it is ``account`` that asks; otherwise somebody who may do everything."""
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.answers: list[int] = []
        """Status codes to answer the next requests with, instead of serving them."""
        self.message = "busy"
        """What those answers say."""
        self.lose_answer_to = ""
        """Method of a request that is served next, and loses its connection in mid-answer."""
        self._lock = threading.Lock()
        self._open(0)

    def _open(self, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Nobody answers any more."""
        self._server.shutdown()
        self._server.server_close()

    def open_again(self) -> None:
        """After ``close``, at the same address and with everything as it was."""
        self._open(int(self._server.server_address[1]))

    def kubeconfig(self, folder: Path) -> Path:
        """A configuration file that names this server and the namespace "team"."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        context = {"cluster": "c", "user": "u", "namespace": NAMESPACE}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": context}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
        }
        file = folder / "kubeconfig"
        file.write_text(json.dumps(content))
        return file

    def serve(self, method: str, path: str, kind: str, body: Any) -> Answer:
        """(status, content) for one request."""
        with self._lock:
            self.requests.append((method, path))
            self.bodies.append(body)
            if self.answers:
                return refusal(self.answers.pop(0), self.message)
            self.end_what_is_due()
            url = urlsplit(path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if forbidden := self._forbidden(method, url.path):
                return forbidden
            if url.path == JOBS or url.path.startswith(f"{JOBS}/"):
                name = url.path.removeprefix(JOBS).removeprefix("/")
                return self._job(method, name, kind, query, body)
            if url.path.startswith(f"{CORE}/"):
                found = self._core(url.path.removeprefix(f"{CORE}/"), query)
                if found is not None:
                    return found
            if url.path.startswith(f"{REVIEWS}/") and method == "POST":
                return self._review(body)
            if method == "GET" and url.path in self.objects:
                return 200, self.objects[url.path]
            if url.path.startswith("/apis/") and CORE not in url.path:
                return 404, "404 page not found"  # no such kind: not even a status
            return refusal(404, f"{url.path} not found")

    def _forbidden(self, method: str, path: str) -> Answer | None:
        if not self.strict or path.startswith(REVIEWS):
            return None
        group = "trainer.kubeflow.org" if path.startswith("/apis/") else ""
        resource, *rest = path.partition(f"/namespaces/{NAMESPACE}/")[2].split("/")
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}.get(method)
        verb = verb or ("get" if rest else "list")
        resource += f"/{rest[1]}" if len(rest) > 1 else ""
        if f"{verb} {resource}" + (f".{group}" if group else "") in self.rights:
            return None
        user = f"system:serviceaccount:{NAMESPACE}:{self.account}"
        return refusal(
            403,
            f'{resource} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API '
            f'group "{group}" in the namespace "{NAMESPACE}"',
        )

    def _core(self, path: str, query: dict[str, str]) -> Answer | None:
        if path == "pods":
            label, _, value = query["labelSelector"].partition("=")
            items = [pod for pod in self.pods if pod["metadata"]["labels"].get(label) == value]
            return 200, {"items": items}
        if path == "events":
            return 200, {"items": self.events}
        if path.startswith("pods/") and path.endswith("/log"):
            return self._log(path.split("/")[1], query.get("container", ""))
        return None

    def _log(self, name: str, container: str) -> Answer:
        for pod in self.pods:
            if pod["metadata"]["name"] == name:
                break
        else:
            return refusal(404, f'pods "{name}" not found')
        names = [each["name"] for each in pod["spec"]["containers"]]
        if not container and len(names) > 1:
            choice = " ".join(names)
            return refusal(
                400, f"a container name must be specified for pod {name}, choose one of: [{choice}]"
            )
        if container and container not in names:
            return refusal(400, f"container {container} is not valid for pod {name}")
        if pod["status"]["phase"] == "Pending":
            waits = f'container "{container}" in pod "{name}" is waiting to start: '
            return refusal(400, waits + "ContainerCreating")
        return 200, "\n".join(self.logs.get(name, []))

    def _review(self, body: dict[str, Any]) -> Answer:
        asked = body["spec"]["resourceAttributes"]
        assert asked["namespace"] == NAMESPACE
        name = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        right = f"{asked['verb']} {name}" + (f".{asked['group']}" if asked.get("group") else "")
        account = body["spec"].get("user", "")
        allowed = account.endswith(f":{NAMESPACE}:{self.account}") and right in self.rights
        return 201, {**body, "status": {"allowed": allowed}}

    def _job(self, method: str, name: str, kind: str, query: dict[str, str], body: Any) -> Answer:
        if method == "POST":
            return self.create(body)
        if name not in self.jobs:
            return refusal(404, f'trainjobs.trainer.kubeflow.org "{name}" not found')
        if method == "DELETE":
            return self.delete(name, query.get("propagationPolicy", "Background"))
        if method == "PATCH":
            return self.patch(name, kind, body)
        return 200, self.jobs[name]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                kind = self.headers.get("Content-Type", "")
                status, content = server.serve(self.command, self.path, kind, body)
                text = content if isinstance(content, str) else json.dumps(content)
                self.send_response(status)
                kind = "text/plain" if isinstance(content, str) else "application/json"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                if server.lose_answer_to == self.command:
                    server.lose_answer_to = ""
                    text = text[: len(text) // 2]
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler
