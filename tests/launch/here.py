"""Ranks for tests that need no processes: the one rank runs in this one."""

import io
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from dcvae.launch.starter import error_of
from dcvae.messages import Failure, Progress

_SET_BY_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")


@dataclass(frozen=True)
class HereRanks:
    """As :class:`dcvae.launch.local.LocalRanks`, without starting anything."""

    nproc: int = 1
    keep: str | None = None

    def run(self, arguments: Sequence[str], show: Callable[[Progress], None]) -> None:
        from dcvae.training import ranks
        from dcvae.training.__main__ import main

        said = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
            patch.setattr(ranks, "finish", lambda: None)  # DeepSpeed knows one group in its life
            for name in _SET_BY_RANKS:
                patch.setenv(name, os.environ.get(name, "0"))
                patch.delenv(name)
            patch.delenv("DCVAE_PARENT_PID", raising=False)
            with redirect_stdout(io.StringIO()):
                code = main(list(arguments[1:]))
        if code:
            raise error_of(Failure(0, code, tuple(said.getvalue().splitlines())))
