"""A small Kubeflow Model Registry: the paths, bodies and refusals of its OpenAPI description.

The server itself is written in Go and is no Python package. Every body, both ways, goes through the
models that the client's authors generate from that description (``mr_openapi``), and fields that
they do not have are refused.
"""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mr_openapi

ROOT = "/api/model_registry/v1"
PAGE = 2
"""Few, so that more pages than one are asked for."""


class ModelRegistryServer:
    """The server and what it holds: id → resource, as JSON."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.parents: dict[str, str] = {}
        """Artifact → version."""
        self.tokens: set[str | None] = set()
        self.refuse_artifacts = False
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def properties(self, resource: dict[str, Any]) -> dict[str, Any]:
        """The custom properties as plain values."""
        found = {}
        for name, value in resource["customProperties"].items():
            (key,) = set(value) - {"metadataType"}
            found[name] = value[key]
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                url = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(url.query).items()}
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
                registry.tokens.add(token)
                with registry.lock:
                    status, answer = registry.answer(self.command, url.path, query, body)
                data = json.dumps(answer, allow_nan=False).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = _serve  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def answer(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> tuple[int, Any]:
        """Status and body."""
        for pattern, does in ROUTES.items():
            verb, _, route = pattern.partition(" ")
            match = re.fullmatch(ROOT + route, path)
            if verb == method and match:
                try:
                    return does(self, query, body, *match.groups())
                except RefusedError as refused:
                    return refused.status, {"code": "error", "message": str(refused)}
        return 404, {"code": "not found", "message": path}

    def find_model(self, query: dict[str, str], body: Any) -> tuple[int, Any]:
        return found(m for m in self.models.values() if m["name"] == query["name"])

    def create_model(self, query: Any, body: dict[str, Any]) -> tuple[int, Any]:
        parsed("RegisteredModelCreate", body)
        if any(model["name"] == body["name"] for model in self.models.values()):
            raise RefusedError(409, "the name is taken")
        return 201, self._store(self.models, "RegisteredModel", body)

    def update_model(self, query: Any, body: dict[str, Any], key: str) -> tuple[int, Any]:
        parsed("RegisteredModelUpdate", body)
        given = {name: value for name, value in body.items() if value is not None}
        self.models[key] |= given
        return 200, self.models[key]

    def list_versions(self, query: dict[str, str], body: Any, model: str) -> tuple[int, Any]:
        mine = [v for v in self.versions.values() if v["registeredModelId"] == model]
        first = int(query.get("nextPageToken") or 0)
        size = min(int(query.get("pageSize") or PAGE), PAGE)
        more = first + size < len(mine)
        page = {
            "items": mine[first : first + size],
            "nextPageToken": str(first + size) if more else "",
            "pageSize": size,
            "size": len(mine[first : first + size]),
        }
        parsed("ModelVersionList", page)
        return 200, page

    def find_version(self, query: dict[str, str], body: Any) -> tuple[int, Any]:
        wanted = (query["parentResourceId"], query["name"])
        every = self.versions.values()
        return found(v for v in every if (v["registeredModelId"], v["name"]) == wanted)

    def create_version(self, query: Any, body: dict[str, Any]) -> tuple[int, Any]:
        parsed("ModelVersionCreate", body)
        wanted = (body["registeredModelId"], body["name"])
        if any((v["registeredModelId"], v["name"]) == wanted for v in self.versions.values()):
            raise RefusedError(409, "the name is taken")
        if body["registeredModelId"] not in self.models:
            raise RefusedError(404, "no such model")
        return 201, self._store(self.versions, "ModelVersion", body)

    def find_artifact(self, query: dict[str, str], body: Any) -> tuple[int, Any]:
        wanted = (query["parentResourceId"], query["name"])
        every = self.artifacts.values()
        return found(a for a in every if (self.parents[a["id"]], a["name"]) == wanted)

    def create_artifact(self, query: Any, body: dict[str, Any], version: str) -> tuple[int, Any]:
        parsed("ModelArtifact", body)
        if self.refuse_artifacts:
            raise RefusedError(503, "busy")
        if version not in self.versions:
            raise RefusedError(404, "no such version")
        made = self._store(self.artifacts, "ModelArtifact", body)
        self.parents[made["id"]] = version
        return 201, made

    def _store(self, where: dict[str, Any], kind: str, body: dict[str, Any]) -> dict[str, Any]:
        key = str(len(self.models) + len(self.versions) + len(self.artifacts) + 1)
        now = str(int(time.time() * 1000))
        given = {name: value for name, value in body.items() if value is not None}
        where[key] = {
            "customProperties": {},
            "state": "LIVE",
            **given,
            "id": key,
            "createTimeSinceEpoch": now,
            "lastUpdateTimeSinceEpoch": now,
        }
        parsed(kind, where[key])
        stored: dict[str, Any] = where[key]
        return stored


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def parsed(kind: str, content: dict[str, Any]) -> None:
    """Refuse what is not of this kind, and fields that the kind does not have."""
    model = getattr(mr_openapi, kind)
    try:
        model.from_dict(content)
    except ValueError as error:
        raise RefusedError(400, str(error)) from None
    known = {field.alias or name for name, field in model.model_fields.items()}
    if set(content) - known:
        raise RefusedError(400, f"{kind} has no {set(content) - known}")


def found(candidates: Any) -> tuple[int, Any]:
    first = next(iter(candidates), None)
    if first is None:
        raise RefusedError(404, "not found")
    return 200, first


ROUTES = {
    "GET /registered_model": ModelRegistryServer.find_model,
    "POST /registered_models": ModelRegistryServer.create_model,
    r"PATCH /registered_models/(\d+)": ModelRegistryServer.update_model,
    r"GET /registered_models/(\d+)/versions": ModelRegistryServer.list_versions,
    "GET /model_version": ModelRegistryServer.find_version,
    "POST /model_versions": ModelRegistryServer.create_version,
    "GET /model_artifact": ModelRegistryServer.find_artifact,
    r"POST /model_versions/(\d+)/artifacts": ModelRegistryServer.create_artifact,
}
