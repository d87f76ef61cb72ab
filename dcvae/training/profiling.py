"""DeepSpeed's two instruments, on demand: what ranks send each other, and what a step computes.

::

    <run>/profiles/communication.txt       its collectives so far: how often, how large, how long
    <run>/profiles/flops-<images>.txt      the first step of each phase: operations by module

Both change nothing that a run computes. The profiler is started here and not by DeepSpeed's
configuration, which would show the last forward pass before one step of one engine: a step of ours
has several of each. It counts forward passes alone.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import deepspeed.comm
from deepspeed.profiling.flops_profiler import FlopsProfiler

from dcvae.config import TrainingConfig
from dcvae.storage import Storage
from dcvae.training import ranks
from dcvae.training.schedule import Stage
from dcvae.updates import Networks

DEPTH = 4
"""Levels of modules in the table: from the networks down to blocks."""


class Profiler:
    """Writes what ``training.log_communication`` and ``training.profile_flops`` ask for."""

    def __init__(self, training: TrainingConfig, folder: Storage) -> None:
        self.training, self.folder = training, folder
        self.profiled = -1  # the phase whose first step has been profiled
        if training.log_communication:
            _time_each_call()

    @contextmanager
    def step(self, networks: Networks, stage: Stage, images: int) -> Iterator[None]:
        """Around a step: count it if it is this run's first of its phase."""
        first, self.profiled = stage.index != self.profiled, stage.index
        if not (first and self.training.profile_flops and ranks.rank() == 0):
            yield
            return
        profiler = FlopsProfiler(networks)
        profiler.start_profile()
        try:
            yield
            profiler.stop_profile()
            said = io.StringIO()
            with redirect_stdout(said):
                profiler.print_model_profile(module_depth=DEPTH, top_modules=3)
        finally:
            profiler.end_profile()
        self.folder.write(f"flops-{images:012d}.txt", said.getvalue().encode())

    def write_communication(self) -> None:
        """Write what DeepSpeed's collectives have cost so far; all ranks must call it."""
        if not self.training.log_communication:
            return
        said = io.StringIO()
        with redirect_stdout(said):
            deepspeed.comm.log_summary()
        if ranks.rank() == 0:
            self.folder.write("communication.txt", said.getvalue().encode())


def _time_each_call() -> None:
    """DeepSpeed adds the time of every earlier call to a call's, and keeps them all: reset."""
    from deepspeed.comm.comm import comms_logger, timers

    def append(raw_name: str, name: str, milliseconds: float, size: int) -> None:
        type(comms_logger).append(comms_logger, raw_name, name, milliseconds, size)
        timers(name).reset()

    comms_logger.append = append
