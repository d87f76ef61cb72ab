"""Real ranks for tests: processes that stay up, form a gloo group for a task, and part again."""

import io
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch

from dcvae.processes import die_with_parent


class Pool:
    """Up to ``size`` rank processes; each task runs on the first ``world_size`` of them."""

    def __init__(self, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        self.processes = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)

    def run(self, world_size: int, task: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Call ``task(*arguments)`` on every rank of a fresh group; return the results by rank."""
        with tempfile.NamedTemporaryFile() as store:
            for rank, pipe in enumerate(self.pipes[:world_size]):
                pipe.send((task, arguments, rank, world_size, store.name + ".store"))
            answers = [pipe.recv() for pipe in self.pipes[:world_size]]
        for rank, (ok, answer) in enumerate(answers):
            if not ok:
                raise AssertionError(f"rank {rank} failed:\n{answer}")
        return [torch.load(io.BytesIO(answer), weights_only=True) for _, answer in answers]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def _serve(pipe: Connection) -> None:
    die_with_parent()
    os.environ["DS_ACCELERATOR"] = "cpu"
    torch.set_num_threads(1)
    while True:
        try:
            task, arguments, rank, world_size, store = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, _in_group(task, arguments, rank, world_size, store)))
        except BaseException:
            pipe.send((False, traceback.format_exc()))


def _in_group(
    task: Callable[..., Any], arguments: tuple[Any, ...], rank: int, world_size: int, store: str
) -> bytes:
    import deepspeed.comm
    import torch.distributed as dist

    from dcvae.training import engines

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )
    try:
        engines.prepare(torch.device("cpu"))
        buffer = io.BytesIO()
        torch.save(task(*arguments), buffer)
        return buffer.getvalue()
    finally:
        dist.destroy_process_group()
        deepspeed.comm.comm.cdb = None
        _forget_groups()


def _forget_groups() -> None:
    """DeepSpeed keeps its process groups in module variables, past the end of a group."""
    from deepspeed.utils import groups
    from torch.distributed import ProcessGroup

    for name, value in list(vars(groups).items()):
        if isinstance(value, ProcessGroup):
            setattr(groups, name, None)
