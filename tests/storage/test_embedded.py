"""The embedded server: private, and gone when its run is gone."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from dcvae.errors import UserError
from dcvae.storage import open_storage
from dcvae.storage.embedded import EmbeddedS3, embedded_s3
from tests.processes import alive

# Starts the server from a thread that ends at once, then says its pid and sleeps.
PARENT = """
import sys, threading, time
from pathlib import Path
from dcvae.storage.embedded import embedded_s3
context = embedded_s3(Path(sys.argv[1]))
thread = threading.Thread(target=lambda: found.append(context.__enter__()))
found = []
thread.start(); thread.join()
time.sleep(0.5)
found[0].create_bucket("kept")
print(found[0].pid, found[0].endpoint, found[0].access_key, found[0].secret_key, flush=True)
time.sleep(60)
"""


def listening(pid: int) -> set[tuple[str, int]]:
    """Local addresses and ports on which the process listens."""
    sockets = psutil.Process(pid).net_connections("tcp")
    return {tuple(each.laddr) for each in sockets if each.status == psutil.CONN_LISTEN}


def test_only_the_loopback_is_bound(s3: EmbeddedS3) -> None:
    assert {address for address, _ in listening(s3.pid)} == {"127.0.0.1"}


def test_strangers_are_refused(s3: EmbeddedS3) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(s3.endpoint + "/dcvae-tests")
    assert caught.value.code == 403
    assert s3.secret_key not in repr(s3)


def inner_ports(server: EmbeddedS3) -> list[int]:
    ports = sorted(port for _, port in listening(server.pid))
    ports.remove(int(server.endpoint.rpartition(":")[2]))
    assert len(ports) >= 9, "master, volume, filer, admin, and gRPC of all five"
    return ports


def test_no_inner_port_answers_without_the_certificate(s3: EmbeddedS3) -> None:
    for port in inner_ports(s3):
        with socket.create_connection(("127.0.0.1", port), 3) as plain:
            plain.sendall(b"GET /buckets/dcvae-tests/ HTTP/1.0\r\n\r\n")
            said = plain.recv(4096)
            assert not said or b" 400 " in said.splitlines()[0] or said.startswith(b"\x15"), port
        stranger = ssl.create_default_context()
        stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
        assert "CERTIFICATE_REQUIRED" in greeted(port, stranger), port


def test_the_certificate_is_for_this_user_alone_and_opens_each_port(s3: EmbeddedS3) -> None:
    assert s3.directory is not None
    files = [s3.directory / "tls" / name for name in ("certificate.pem", "key.pem")]
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    us = ssl.create_default_context(cafile=str(files[0]))
    us.load_cert_chain(*files)
    for port in inner_ports(s3):
        assert greeted(port, us) == "", port


def greeted(port: int, context: ssl.SSLContext) -> str:
    """Why a TLS connection is refused; empty if it is not."""
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 3) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            secured.recv(1)
    except ssl.SSLError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("spelling", ["no_proxy", "NO_PROXY"])
def test_a_proxy_is_not_asked_for_the_server(
    s3: EmbeddedS3, s3_uri: str, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv(spelling, "example.org")
    program = (
        "import sys; from dcvae.storage import open_storage\n"
        "print(open_storage(sys.argv[1]).write('k', b'v'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, s3_uri],
        env=os.environ | s3.environment() | {"DCVAE_STORAGE_FIRST_PATIENCE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "example.org" in s3.environment()["no_proxy"]


def test_its_logs_are_with_its_files(s3: EmbeddedS3) -> None:
    assert s3.directory is not None
    assert (s3.directory / "server.log").stat().st_size > 0
    logs = Path(tempfile.gettempdir()).glob(f"weed.*.log.*.{s3.pid}")
    assert list(logs) == []


def test_it_dies_with_a_killed_parent_and_keeps_what_was_stored(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)
    killed_ports = [int(word) for word in (tmp_path / "ports").read_text().split()]

    with embedded_s3(tmp_path) as server, pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment().items():
            environment.setenv(name, value)
        assert list(open_storage("s3://kept").list()) == []
        with pytest.raises(UserError, match="another S3 server is running"):
            embedded_s3(tmp_path).__enter__()
    assert not alive(server.pid)
    ports = [int(word) for word in (tmp_path / "ports").read_text().split()]
    for port in (*killed_ports, *ports):
        for name in (port, port + 10_000):
            assert list(Path("/tmp").glob(f"seaweedfs-*-{name}.sock")) == []
