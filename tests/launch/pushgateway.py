"""A real Pushgateway, for tests."""

import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import free_port, wait_until


@contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    """Its address, while it runs."""
    address = f"127.0.0.1:{free_port()}"
    # Debian's keeps what it has for the next of all that run on a machine, unless told otherwise.
    options = [f"--web.listen-address={address}", f"--persistence.file={folder / 'pushed'}"]
    with (folder / "pushgateway.log").open("w") as log:
        process = subprocess.Popen(["prometheus-pushgateway", *options], stdout=log, stderr=log)
        try:
            wait_until(lambda: _ready(f"http://{address}"), 30)
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(30)


def read(gateway: str) -> str:
    """What it would tell Prometheus."""
    with urllib.request.urlopen(f"{gateway}/metrics") as page:
        return str(page.read().decode())


def _ready(gateway: str) -> bool:
    try:
        urllib.request.urlopen(f"{gateway}/-/ready").close()
    except OSError:
        return False
    return True
