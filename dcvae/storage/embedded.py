"""A real S3 server (SeaweedFS) on this machine's loopback interface, for laptops and tests.

Its services talk to each other over internal ports. Those require a certificate that only this user
can read, so the S3 port, which requires the keys, is the only way in.
"""

import fcntl
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from dcvae.environment import EMBEDDED_S3, S3
from dcvae.errors import UserError
from dcvae.storage.disk import full, full_disk_told, is_full
from dcvae.storage.weed import (
    SERVICES,
    arguments,
    free_ports,
    inner_ports_closed,
    program,
    remove_sockets,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_READY_WITHIN = 30.0  # seconds; replaying its log after a crash was seen to take up to 20
_READY_WITHIN_ON_A_FULL_DISK = 8.0  # seconds; it would keep trying forever


@dataclass
class EmbeddedS3:
    """A running server. All its ports are bound to 127.0.0.1."""

    endpoint: str
    access_key: str = field(default_factory=lambda: secrets.token_hex(10))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    pid: int = 0
    directory: Path | None = None
    """The folder of its files."""

    def environment(self) -> dict[str, str]:
        """Variables that make any S3 client in this or a child process use this server."""
        named = [os.environ.get(name) for name in ("no_proxy", "NO_PROXY")]
        exempt = ",".join(dict.fromkeys([*filter(None, named), "127.0.0.1"]))
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": "",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            **dict.fromkeys(S3.values(), ""),
            "NO_PROXY": exempt,
            "no_proxy": exempt,  # takes precedence if both are set
            EMBEDDED_S3: str(self.directory or ""),
        }

    def create_bucket(self, name: str) -> None:
        """Create the bucket if it does not exist."""
        client = self._client()
        try:
            client.create_bucket(Bucket=name)
        except (client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            return
        except (boto.ClientError, boto.BotoCoreError) as error:
            if self.directory is not None and is_full(self.directory):
                raise full(self.directory) from error
            raise UserError(f"cannot create the bucket {name}: {error}") from error

    def _client(self) -> "S3Client":
        return boto3.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(
                connect_timeout=2,
                read_timeout=5,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                proxies={},
            ),
        )

    def _writable(self) -> bool:
        """Whether a put works, which it does only some time after the health check passes."""
        client, probe = self._client(), f"probe-{secrets.token_hex(6)}"
        try:
            client.create_bucket(Bucket=probe)
            client.put_object(Bucket=probe, Key="probe", Body=b"probe")
            client.delete_object(Bucket=probe, Key="probe")
            client.delete_bucket(Bucket=probe)
        except (boto.ClientError, boto.BotoCoreError, OSError):
            return False
        return True


@contextmanager
def embedded_s3(directory: Path) -> Iterator[EmbeddedS3]:
    """Run a server on the data in ``directory`` until the block ends or this process dies.

    The directory keeps the buckets between runs; ports and credentials are new each time.

    Raises:
        UserError: the server's program is missing, ``directory`` is in use by another server, its
            disk is full, or the server does not become ready.
    """
    with full_disk_told(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with _exclusive(directory):
        with full_disk_told(directory):
            server, process, ports = _start(directory)
        try:
            yield server
        finally:
            _stop(process)
            remove_sockets(ports)


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another S3 server is running on {directory}: stop it first") from None
        yield


def _start(directory: Path) -> tuple[EmbeddedS3, "subprocess.Popen[bytes]", list[int]]:
    log = directory / "server.log"
    _remove_leftovers(directory)
    for _ in range(5):  # another program may take a port between our check and the start
        ports = free_ports()
        server = EmbeddedS3(f"http://127.0.0.1:{ports[0]}", directory=directory)
        process = _launch(directory, server, ports, log)
        server.pid = process.pid
        patience = _READY_WITHIN_ON_A_FULL_DISK if is_full(directory) else _READY_WITHIN
        deadline = time.monotonic() + patience
        while process.poll() is None and time.monotonic() < deadline:
            if server._writable():
                return server, process, ports
            time.sleep(0.1)
        ended = process.poll() is not None
        _stop(process)
        remove_sockets(ports)
        if not ended:
            break
    if is_full(directory):
        raise full(directory)
    tail = " / ".join(log.read_text(errors="replace").splitlines()[-3:])
    raise UserError(f"the embedded S3 server on {directory} did not start: {tail}")


def _launch(
    directory: Path, server: EmbeddedS3, ports: list[int], log: Path
) -> "subprocess.Popen[bytes]":
    """Start the server from a thread that lives as long as the server.

    The kernel sends its death signal when the *thread* that started the child ends, so it must not
    be a caller's short-lived thread.
    """
    (directory / "ports").write_text(" ".join(map(str, ports)))
    command = [str(program()), *arguments(directory, ports)]
    # Runs first in the server's process: has the kernel kill it when this process ends.
    guard = [sys.executable, "-m", "dcvae.processes", str(os.getpid()), *command]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "GOMEMLIMIT": "400MiB",
        **inner_ports_closed(directory),
    }
    started: list[subprocess.Popen[bytes] | OSError] = []
    ready = threading.Event()

    def keep() -> None:
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    guard,
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C must not reach it; we stop it when done
                    umask=0o077,
                )
        except OSError as error:
            started.append(error)
            ready.set()
            return
        started.append(process)
        ready.set()
        process.wait()

    threading.Thread(target=keep, name="embedded-s3", daemon=True).start()
    ready.wait()
    if isinstance(started[0], OSError):
        raise UserError(f"cannot start the embedded S3 server: {started[0]}")
    return started[0]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(4)
    except subprocess.TimeoutExpired:  # open connections can delay it; no write is lost
        process.kill()
        process.wait()


def _remove_leftovers(directory: Path) -> None:
    """Remove what a killed server has left behind."""
    last = directory / "ports"
    if last.is_file():
        ports = [int(word) for word in last.read_text().split() if word.isdigit()]
        if len(ports) == len(SERVICES):
            remove_sockets(ports)
    (directory / "mini.options").unlink(missing_ok=True)  # flags of the last run
