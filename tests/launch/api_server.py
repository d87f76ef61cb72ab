"""A small Kubernetes API server: stores TrainJobs and serves the pods, events and logs it is given.

The client talks to it over HTTP as to a real one. What a controller would do, the test does, by
changing ``jobs``, ``pods``, ``events`` and ``logs``.
"""

import json
import re
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs"
CORE = "/api/v1/namespaces/team"
REVIEWS = "/apis/authorization.k8s.io/v1"
# What the CRD lets a TrainJob say; the real server prunes or refuses anything else.
SPEC = {"activeDeadlineSeconds", "runtimeRef", "trainer"}
TRAINER = {"command", "args", "numNodes", "numProcPerNode"}


def now() -> str:
    """The time as Kubernetes writes it, in whole seconds."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


class ApiServer:
    """The server and what it holds."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.logs: dict[str, list[str]] = {}
        self.objects: dict[str, Any] = {}
        """Answers to GET, by path: whatever else a test needs there to be."""
        self.rights: set[str] = set()
        """What ``account`` may do, as "verb resource" or "verb resource.group"."""
        self.account = "pipeline-runner"
        self.requests: list[tuple[str, str]] = []
        self.answers: list[int] = []
        """Status codes to answer the next requests with, instead of serving them."""
        self.message = "busy"
        """What those answers say."""
        self.lost = 0
        """How many of the next requests are served, and lose their connection in mid-answer."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, folder: Path) -> Path:
        """A configuration file that names this server and the namespace "team"."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}
            ],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
        }
        file = folder / "kubeconfig"
        file.write_text(json.dumps(content))
        return file

    def add_pod(self, name: str, phase: str, job: str, uid: str = "", **status: Any) -> None:
        metadata = {
            "name": name,
            "uid": uid or name,
            "labels": {"jobset.sigs.k8s.io/jobset-name": job},
        }
        self.pods.append({"metadata": metadata, "status": {"phase": phase, **status}})

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

    def set_condition(self, kind: str, message: str = "") -> None:
        (job,) = self.jobs.values()
        condition = {"type": kind, "status": "True", "reason": kind, "message": message}
        job["status"] = {"conditions": [condition]}

    def serve(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """(status, content) for one request."""
        self.requests.append((method, path))
        if self.answers:
            return self.answers.pop(0), {"message": self.message}
        url = urlsplit(path)
        if url.path == JOBS and method == "POST":
            return self._create(body)
        if url.path.startswith(f"{JOBS}/"):
            return self._job(method, url.path.removeprefix(f"{JOBS}/"))
        if log := re.fullmatch(f"{CORE}/pods/(.+)/log", url.path):
            return 200, "\n".join(self.logs.get(log[1], []))
        if url.path == f"{CORE}/pods":
            label, _, value = parse_qs(url.query)["labelSelector"][0].partition("=")
            items = [pod for pod in self.pods if pod["metadata"]["labels"].get(label) == value]
            return 200, {"items": items}
        if url.path == f"{CORE}/events":
            return 200, {"items": self.events}
        if url.path.startswith(f"{REVIEWS}/") and method == "POST":
            return self._review(body)
        if method == "GET" and url.path in self.objects:
            return 200, self.objects[url.path]
        return 404, {"message": path}

    def _review(self, body: dict[str, Any]) -> tuple[int, Any]:
        asked = body["spec"]["resourceAttributes"]
        assert asked["namespace"] == "team"
        name = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        right = f"{asked['verb']} {name}" + (f".{asked['group']}" if asked.get("group") else "")
        account = body["spec"].get("user", "")
        allowed = account.endswith(f":team:{self.account}") and right in self.rights
        return 201, {**body, "status": {"allowed": allowed}}

    def _create(self, job: dict[str, Any]) -> tuple[int, Any]:
        name = job["metadata"]["name"]
        if name in self.jobs:
            return 409, {"message": f"{name} already exists"}
        if set(job["spec"]) - SPEC or set(job["spec"]["trainer"]) - TRAINER:
            return 422, {"message": "unknown field"}
        job["metadata"]["creationTimestamp"] = now()
        self.jobs[name] = job
        return 201, job

    def _job(self, method: str, name: str) -> tuple[int, Any]:
        if name not in self.jobs:
            return 404, {"message": f"{name} not found"}
        if method == "DELETE":
            del self.jobs[name]
            return 200, {}
        return 200, self.jobs[name]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, content = server.serve(self.command, self.path, body)
                text = content if isinstance(content, str) else json.dumps(content)
                self.send_response(status)
                kind = "text/plain" if isinstance(content, str) else "application/json"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                if server.lost:
                    server.lost -= 1
                    text = text[: len(text) // 2]
                self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler
