"""Kubeflow Pipelines' API v2beta1, as far as submitting, scheduling and uploading need it.

KFP's own client talks to it over HTTP. What the scheduler and the workflow engine would do to a
run, the test does, by changing ``runs``.
"""

import itertools
import json
import re
import threading
from collections.abc import Mapping
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

V2 = "/apis/v2beta1"
Found = list[dict[str, Any]]
Query = dict[str, str]


class KfpServer:
    """The server and what it holds."""

    def __init__(self) -> None:
        self.experiments: Found = []
        self.runs: Found = []
        self.schedules: Found = []
        self.pipelines: Found = []
        self.versions: Found = []
        self.writes: list[tuple[str, str]] = []
        self.answers: list[int] = []
        """Status codes to answer the next requests with, instead of serving them."""
        self.user: tuple[str, str] | None = None
        """The token and the namespace of the only user, where Kubeflow is for many."""
        self._numbers = itertools.count(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def trigger(self, schedule: dict[str, Any]) -> dict[str, Any] | None:
        """What the scheduler does when a schedule's time has come: its run, which has no name.

        None while as many of its runs are at work as it may have.
        """
        mine = [run for run in self.runs if run.get("recurring_run_id") == _id_of(schedule)]
        busy = [run for run in mine if run["state"] in ("PENDING", "RUNNING")]
        if schedule["mode"] != "ENABLE" or len(busy) >= int(schedule["max_concurrency"]):
            return None
        kept = ("experiment_id", "pipeline_spec", "runtime_config")
        run = {name: schedule[name] for name in kept if name in schedule}
        return self._add(
            self.runs, "run", {**run, "recurring_run_id": _id_of(schedule), "state": "PENDING"}
        )[1]

    def report(self, run: dict[str, Any], **states: str) -> None:
        """What the workflow engine tells of a run: tasks by name, each try of one below it.

        Every task is wrapped for its tries, with its driver beside it.
        """
        nodes = [("root", "RUNNING"), ("root-driver", "SUCCEEDED")]
        for name, state in states.items():
            task, _, tries = name.replace("_", "-").partition("--")
            nodes.append((f"{task}-driver", "SUCCEEDED"))
            nodes.append((task, state))
            for number in range(int(tries or 1)):
                last = number == int(tries or 1) - 1
                nodes += [(f"{task}({number})", state if last else "FAILED"), ("executor", state)]
        run["run_details"] = {
            "task_details": [
                {"task_id": str(number), "display_name": name, "state": state}
                for number, (name, state) in enumerate(nodes)
            ]
        }

    def serve(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, Any]]:
        """(status, content) for one request."""
        url = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        short = url.path.removeprefix(V2)
        if short == "/healthz":
            return 200, {"multi_user": bool(self.user)}
        if refused := self._stranger(method, short, headers, query, body):
            return refused
        if method != "GET":
            self.writes.append((method, short))
        if self.answers:
            return self.answers.pop(0), {"message": "the database is away"}
        return self._route(method, short, query, headers.get("Content-Type", ""), body)

    def _route(
        self, method: str, short: str, query: Query, kind: str, body: bytes
    ) -> tuple[int, dict[str, Any]]:
        if method == "POST" and short in ("/pipelines/upload", "/pipelines/upload_version"):
            return self._upload(short, query, kind, body)
        content = json.loads(body) if body else {}
        if short == "/experiments":
            return self._collection(method, self.experiments, "experiment", content, query)
        if short == "/runs" and method == "POST":
            return self._add(self.runs, "run", {**content, "state": "PENDING"})
        if found := re.fullmatch(r"/runs/([\w-]+)", short):
            return self._one(self.runs, "run_id", found[1])
        if short == "/pipelines":
            return self._collection(method, self.pipelines, "pipeline", content, query)
        if found := re.fullmatch(r"/pipelines/([\w-]+)/versions", short):
            of = [each for each in self.versions if each["pipeline_id"] == found[1]]
            return self._collection(method, of, "pipeline_version", content, query)
        return self._schedule(method, short, content, query)

    def _stranger(
        self, method: str, short: str, headers: Mapping[str, str], query: Query, body: bytes
    ) -> tuple[int, dict[str, Any]] | None:
        """What a server for many users answers to one that it does not know, or who is where."""
        if not self.user:
            return None
        if headers.get("Authorization") != f"Bearer {self.user[0]}":
            return 401, {"message": "Unauthenticated"}
        if short in ("/pipelines", "/experiments"):
            place = query if method == "GET" else json.loads(body)
            if place.get("namespace") != self.user[1]:
                return 400, {"message": "a namespace is required"}
        return None

    def _schedule(
        self, method: str, short: str, content: dict[str, Any], query: Query
    ) -> tuple[int, dict[str, Any]]:
        if short == "/recurringruns":
            if method == "POST" and (wrong := _refusal(content)):
                return 400, {"message": wrong}
            of = query.get("experiment_id")
            held = [each for each in self.schedules if each["experiment_id"] == of]
            into = self.schedules if method == "POST" else held
            return self._collection(method, into, "recurring_run", content, query)
        found = re.fullmatch(r"/recurringruns/([\w-]+)(?::(enable|disable))?", short)
        if not found:
            return 404, {"message": short}
        status, held_one = self._one(self.schedules, "recurring_run_id", found[1])
        if method == "DELETE" and status == 200:
            self.schedules.remove(held_one)
            return 200, {}
        if method == "POST" and found[2]:
            held_one["mode"] = found[2].upper()
        return status, held_one

    def _collection(
        self, method: str, held: Found, name: str, content: dict[str, Any], query: Query
    ) -> tuple[int, dict[str, Any]]:
        """Add to a list, or a page of it: never more than two, so that paging is used."""
        if method == "POST":
            return self._add(held, name, content)
        for predicate in json.loads(query.get("filter", "{}")).get("predicates", []):
            assert predicate["operation"] in ("EQUALS", 1)
            key, wanted = predicate["key"], predicate["stringValue"].lower()
            held = [each for each in held if each[key].lower() == wanted]  # as the database does
        start = int(query.get("page_token") or 0)
        plural = {"recurring_run": "recurringRuns"}.get(name, f"{name}s")
        page = {plural: held[start : start + 2], "total_size": len(held)}
        if start + 2 < len(held):
            page["next_page_token"] = str(start + 2)
        return 200, page

    def _add(self, held: Found, name: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        number = next(self._numbers)
        identity = {f"{name}_id": f"{name.replace('_', '-')}-{number}"}
        made = {**content, **identity, "created_at": f"2026-01-01T00:00:{number:02d}Z"}
        held.append(made)
        return 200, made

    def _one(self, held: Found, key: str, identity: str) -> tuple[int, dict[str, Any]]:
        for each in held:
            if each[key] == identity:
                return 200, each
        return 404, {"message": f"{identity} not found"}

    def _upload(
        self, short: str, query: Query, kind: str, body: bytes
    ) -> tuple[int, dict[str, Any]]:
        form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        (part,) = form.get_payload()  # type: ignore[misc]
        payload: Any = part.get_payload(decode=True)  # type: ignore[union-attr]
        spec = list(yaml.safe_load_all(payload))
        name = query.get("name")
        if short == "/pipelines/upload":
            if any(each["display_name"] == name for each in self.pipelines):
                return 409, {"message": f"the pipeline {name} already exists"}
            held = {"display_name": name, "description": query.get("description", "")}
            status, made = self._add(self.pipelines, "pipeline", held)
            first = {"display_name": name, "pipeline_id": made["pipeline_id"]}
            self._add(self.versions, "pipeline_version", {**first, "pipeline_spec": spec})
            return status, made
        identity = query["pipelineid"]
        of = [each for each in self.versions if each["pipeline_id"] == identity]
        if any(each["display_name"] == name for each in of):
            return 409, {"message": f"the version {name} already exists"}
        version = {"display_name": name, "pipeline_id": identity, "pipeline_spec": spec}
        return self._add(self.versions, "pipeline_version", version)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, content = server.serve(self.command, self.path, self.headers, body)
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def _id_of(schedule: dict[str, Any]) -> str:
    return str(schedule["recurring_run_id"])


def _refusal(schedule: dict[str, Any]) -> str:
    """Why the backend would not take this schedule; its cron has seconds first."""
    cron = schedule["trigger"]["cron_schedule"]["cron"].split()
    if len(cron) != 6:
        return f"{len(cron)} fields instead of 6"
    if not 1 <= int(schedule["max_concurrency"]) <= 10:
        return "max_concurrency is 1 to 10"
    return "" if schedule.get("display_name") else "a schedule needs a name"
