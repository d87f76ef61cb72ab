"""DeepSpeed's two profilers, on demand: what ranks send each other, and what a step computes.

::

    <run>/profiles/communication.txt       its collectives so far: how often, how large, how long
    <run>/profiles/flops-<images>.txt      the first step of each phase: operations by module

Neither changes what a run computes. The FLOPs profiler is started here because DeepSpeed's own
configuration would show only the last forward pass of one engine, and our steps have several of
each. It counts forward passes only.
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
"""Depth of the table of modules: from the networks down to blocks."""


class Profiler:
    """Writes what ``training.log_communication`` and ``training.profile_flops`` ask for."""

    def __init__(self, training: TrainingConfig, folder: Storage) -> None:
        self.training, self.folder = training, folder
        self.profiled = -1  # the phase whose first step has been profiled
        if training.log_communication:
            _time_each_call()

    @contextmanager
    def step(self, networks: Networks, stage: Stage, images: int) -> Iterator[None]:
        """Wraps a step; profiles the first of each phase."""
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
    """Reset DeepSpeed's log at each call: it adds the time of all earlier calls to a new one's."""
    from deepspeed.comm.comm import comms_logger, timers

    def append(raw_name: str, name: str, milliseconds: float, size: int) -> None:
        type(comms_logger).append(comms_logger, raw_name, name, milliseconds, size)
        timers(name).reset()

    comms_logger.append = append
