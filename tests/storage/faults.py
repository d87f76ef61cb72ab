"""A loopback HTTP proxy in front of the real S3 server that breaks a part of the answers."""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

KINDS = ("500", "503", "refuse", "lose", "truncate", "stall", "flip")
WRONG = ("page", "other", "swap")
"""Answers with status 200 that are not what was asked for."""
PAGE = b"<!DOCTYPE html><html><body>Please sign in.</body></html>"


class FaultyProxy(ThreadingHTTPServer):
    """``rates``: kind of fault → probability. ``down``: refuse everything while set.

    "lose" lets the server act and drops its answer; "flip" changes one byte of a shard. "page" is
    an HTML page in the answer's place, "other" one under the headers of the right answer, "swap" a
    body of the right length. ``answer`` replaces every answer: status, headers, body.
    """

    daemon_threads = True

    def __init__(self, upstream: str, rates: dict[str, float], seed: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.rates, self.chance = rates, random.Random(seed)
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.down, self.stopped = threading.Event(), threading.Event()
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def draw(self) -> str:
        with self._lock:
            self.counts["requests"] += 1
            if self.down.is_set():
                return "refuse"
            kinds = [*self.rates, ""]
            weights = [*self.rates.values(), 1 - sum(self.rates.values())]
            (fault,) = self.chance.choices(kinds, weights)
            self.counts[fault] += 1
            return fault

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are the point."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def handle_expect_100(self) -> bool:
        return True  # the body comes anyway

    def _any(self) -> None:
        body = self._body()
        fault = self.server.draw()
        self.close_connection = bool(fault)
        if fault == "refuse":
            return
        if self.server.answer:
            self._send(*self.server.answer)
            return
        if fault in ("500", "503"):
            self._send(int(fault), {}, b"")
            return
        if fault == "page":
            self._send(200, {"Content-Type": "text/html"}, PAGE)
            return
        status, headers, answer = self._ask(body)
        if fault == "lose":
            return
        is_shard = self.command == "GET" and self.path.endswith(".tar") and status < 300
        if fault == "flip" and is_shard and answer:
            at = self.server.chance.randrange(len(answer))
            answer = answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1 :]
        if fault in ("other", "swap") and self.command == "GET" and status < 300 and answer:
            answer = PAGE if fault == "other" else answer[::-1]
            headers = [(k, v) for k, v in headers if not k.lower().startswith("x-amz-checksum")]
            headers = [(k, str(len(answer)) if k == "Content-Length" else v) for k, v in headers]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.wfile.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode())
        if fault in ("truncate", "stall"):
            self.wfile.write(answer[: len(answer) // 2])
            if fault == "stall":
                self.wfile.flush()
                self.server.stopped.wait(10)
        else:
            self.wfile.write(answer)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.close_connection = True
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = f"Content-Length: {len(body)}\r\n"
        self.wfile.write(f"HTTP/1.1 {status} X\r\n{head}{length}\r\n".encode() + body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.headers.get("Transfer-Encoding") == "chunked":
            raise NotImplementedError
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k not in ("Expect", "Connection")}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        dropped = ("transfer-encoding", "connection", "content-length")
        kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in dropped]
        length = answer.getheader("Content-Length") or "0"
        upstream.close()
        size = length if self.command == "HEAD" else str(len(content))
        return answer.status, [*kept, ("Content-Length", size)], content

    def log_message(self, *_: object) -> None:
        """Quietly."""


@contextmanager
def faulty_proxy(upstream: str, rates: dict[str, float], seed: int = 0) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(upstream, rates, seed)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopped.set()
        proxy.shutdown()
        thread.join()
        proxy.server_close()


@contextmanager
def outage(proxy: FaultyProxy, after: float, seconds: float) -> Iterator[None]:
    """Refuse everything for ``seconds``, beginning ``after`` seconds from now."""

    def run() -> None:
        time.sleep(after)
        proxy.down.set()
        time.sleep(seconds)
        proxy.down.clear()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
