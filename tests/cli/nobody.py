"""Commands as somebody whom this machine does not know: no root, no entry in passwd, no home.

``python -m tests.cli.nobody LINE…`` prints (exit code, error stream, output) of each as JSON. The
program and its libraries may lie where only root can read, so all that is needed is loaded before.
"""

import contextlib
import importlib
import io
import json
import os
import pkgutil
import shlex
import sys

import PIL.Image
import pyarrow.parquet
import webdataset  # noqa: F401

import dcvae.sharding.sources
from dcvae.cli import main

UNKNOWN = 54_321
"""Of the users; an administrator would have to have given that very number to somebody."""


def run(line: str) -> tuple[int, str, str]:
    errors, output = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main(shlex.split(line))
        except SystemExit as ended:
            return int(str(ended.code)), errors.getvalue(), output.getvalue()
    raise AssertionError("main() returned")


def load_all() -> None:
    for module in pkgutil.iter_modules(dcvae.sharding.sources.__path__):
        importlib.import_module(f"dcvae.sharding.sources.{module.name}")
    PIL.Image.init()
    pyarrow.parquet.read_schema  # noqa: B018
    for line in ("shard pictures loaded --resolution 8", "inspect loaded"):
        code, said, _ = run(line)
        assert code == 0, said


if __name__ == "__main__":
    load_all()
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(UNKNOWN)
        os.setuid(UNKNOWN)
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "DCVAE_SOURCES"):
        os.environ.pop(name, None)
    print(json.dumps([run(line) for line in sys.argv[1:]]))
