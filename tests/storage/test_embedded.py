"""The embedded server: private, and gone when its run is gone."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dcvae.errors import UserError
from dcvae.storage import open_storage
from dcvae.storage.embedded import EmbeddedS3, embedded_s3

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


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def listening(pid: int) -> set[str]:
    """Local addresses of the TCP sockets on which the process listens."""
    links = [Path(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    inodes = {match[1] for link in links if (match := re.match(r"socket:\[(\d+)", target(link)))}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


def target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_only_the_loopback_is_bound(s3: EmbeddedS3) -> None:
    loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
    assert listening(s3.pid) == {loopback}


def test_strangers_are_refused(s3: EmbeddedS3) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(s3.endpoint + "/dcvae-tests")
    assert caught.value.code == 403
    assert s3.secret_key not in repr(s3)


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
