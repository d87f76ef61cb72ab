"""The command in this process: what it does, says and ends with."""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import dcvae.launch  # noqa: F401
from dcvae.cli import main
from tests.launch.here import HereRanks

# dcvae.launch has a function of this name: only by the table of modules is the module found.
_TRAIN = sys.modules["dcvae.launch.train"]


def command(where: Path, words: Sequence[str]) -> tuple[int, str]:
    """Exit code and error stream of ``dcvae WORDS`` in the folder ``where``."""
    before, ranks = Path.cwd(), _TRAIN.LocalRanks  # type: ignore[attr-defined]
    errors, output = io.StringIO(), io.StringIO()
    os.chdir(where)
    _TRAIN.LocalRanks = HereRanks  # type: ignore[attr-defined]
    try:
        with redirect_stdout(output), redirect_stderr(errors):
            main(list(words))
    except SystemExit as ended:
        return int(str(ended.code)), errors.getvalue()
    finally:
        os.chdir(before)
        _TRAIN.LocalRanks = ranks  # type: ignore[attr-defined]
    raise AssertionError("main() returned")
