"""What ranks do together: find out who they are, share rows in rank order, agree.

Names say what a tensor covers: ``x`` belongs to this rank, ``all_x`` to all of them.
"""

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore

TIMEOUT = timedelta(minutes=10)


def start(device: torch.device) -> None:
    """Join the process group that torchrun's environment describes; alone, make a group of one."""
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
        dist.init_process_group(backend, timeout=TIMEOUT)
    else:
        alone = HashStore()
        dist.init_process_group(backend, store=alone, rank=0, world_size=1, timeout=TIMEOUT)


def finish() -> None:
    """Leave the process group, after everything has been said: its threads end before we do."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this rank, 0 without a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of ranks, 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


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
    """:func:`gather_rows` of several [N, …E] of one N, by one call."""
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


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether ``flag`` is true on any rank. All ranks must call it."""
    if world_size() == 1:
        return flag  # without waiting for the device
    raised = torch.tensor(int(flag), device=device)
    dist.all_reduce(raised, op=dist.ReduceOp.MAX)
    return bool(raised.item())


def wait() -> None:
    """Return when all ranks have come here."""
    if world_size() > 1:
        dist.barrier()


@torch.no_grad()
def equalize(module: nn.Module) -> None:
    """Make parameters and buffers those of rank 0 (DeepSpeed sends parameters only). All ranks."""
    if world_size() > 1:
        for tensor in (*module.parameters(), *module.buffers()):
            dist.broadcast(tensor, src=0)
