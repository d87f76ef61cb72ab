"""For a test, run where FOLDER is a small disk: shards images into a server on it until it is full.

``python -m tests.storage.full_disk FOLDER SOURCE``
"""

import os
import sys
import time
from pathlib import Path

from dcvae.cli import main
from dcvae.errors import UserError
from dcvae.storage import embedded


def fill(folder: Path, source: str) -> None:
    with embedded.embedded_s3(folder) as server:
        os.environ.update(server.environment())
        server.create_bucket("full")
        began = time.monotonic()
        try:
            main(["shard", source, "s3://full/set", "--resolution", "128"])
        except SystemExit as ended:
            print(f"ended with {ended.code} after {time.monotonic() - began:.1f} s", flush=True)


def start_again(folder: Path) -> None:
    embedded._READY_WITHIN_ON_A_FULL_DISK = 2.0
    began = time.monotonic()
    try:
        with embedded.embedded_s3(folder):
            print("started all the same")
    except UserError as error:
        print(f"refused after {time.monotonic() - began:.1f} s: {error}")


if __name__ == "__main__":
    fill(Path(sys.argv[1]), sys.argv[2])
    start_again(Path(sys.argv[1]))
