"""What ranks do together: form a group, gather rows in rank order, agree.

Names say what a tensor covers: ``x`` belongs to this rank, ``all_x`` to all ranks.
"""

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore

from dcvae.models.across_ranks import world_size as world_size
from dcvae.training.transfer import Departure
from dcvae.training.watch import Watch, own_connection

TIMEOUT = timedelta(minutes=10)
"""Timeout of a collective: longer than rank 0 may work alone. A lost rank is noticed sooner."""
_watch: list[Watch] = []


def start(device: torch.device) -> None:
    """Join the process group that torchrun's environment describes; without one, form our own."""
    for name, value in {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
    }.items():
        os.environ.setdefault(name, value)
    if dist.is_initialized():
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if "MASTER_PORT" in os.environ:
        own = device if device.type == "cuda" else None
        dist.init_process_group(backend, timeout=TIMEOUT, device_id=own)
        if world_size() > 1:
            _watch.append(Watch(own_connection(), rank(), world_size()))
    else:
        alone = HashStore()
        dist.init_process_group(backend, store=alone, rank=0, world_size=1, timeout=TIMEOUT)


def part() -> None:
    """Stop watching each other; all ranks must call it, and none returns before all have.

    The first one to exit has its agent end the others, soon by force, and may take the store that
    they watch with it.
    """
    while _watch:
        _watch.pop().leave()
    wait()


def finish() -> None:
    """Leave the process group once everything is sent, so that its threads end before we do."""
    part()
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """This rank's number; 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of all ranks [N · world_size, …] in rank order, without gradient.

    ``rows`` is [N, …] with the same N on every rank. All ranks must call it.
    """
    if world_size() == 1:
        return rows.detach()
    all_rows = rows.new_empty(len(rows) * world_size(), *rows.shape[1:])
    dist.all_gather_into_tensor(all_rows, rows.detach().contiguous())
    return all_rows


def gather_together(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """:func:`gather_rows` of several tensors [N, E] of equal N, in one collective."""
    if world_size() == 1:
        return {name: own.detach() for name, own in rows.items()}
    all_rows = gather_rows(torch.cat(list(rows.values()), dim=1))
    split = torch.split(all_rows, [own.shape[1] for own in rows.values()], dim=1)
    return dict(zip(rows, split, strict=True))


def total(values: Tensor) -> Tensor:
    """Sum over ranks of a tensor, without gradient. All ranks must call it."""
    all_values = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(all_values)
    return all_values


def mean(values: Tensor) -> Tensor:
    """Mean over ranks of a tensor, without gradient. All ranks must call it."""
    return total(values) / world_size()


class Vote:
    """Tells whether any rank has raised its flag, one call late, so that no rank has to wait."""

    def __init__(self, device: torch.device) -> None:
        self.flag = torch.zeros((), dtype=torch.int32, device=device)
        self.asked: dist.Work | None = None
        self.answer: Departure | None = None

    def any_rank(self, flag: bool) -> bool:
        """Whether ``flag`` was true on any rank at the previous call. All ranks must call it.

        With one rank, the answer is this very ``flag``.
        """
        if world_size() == 1:
            return flag
        if self._last():
            return True
        self.flag.fill_(int(flag))
        self.asked = dist.all_reduce(self.flag, op=dist.ReduceOp.MAX, async_op=True)
        if self.flag.is_cuda and self.asked is not None:
            self.asked.wait()  # blocks the device, not the host
            self.answer = Departure(self.flag)
        return False

    def _last(self) -> bool:
        if self.asked is None:
            return False
        if self.answer is not None:
            return bool(self.answer.read())
        self.asked.wait()
        return bool(self.flag)


def wait() -> None:
    """Wait until all ranks have called this."""
    if world_size() > 1:
        dist.barrier()


@torch.no_grad()
def equalize(module: nn.Module) -> None:
    """Copy rank 0's parameters and buffers to all ranks (DeepSpeed copies only parameters)."""
    if world_size() > 1:
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor, src=0)
