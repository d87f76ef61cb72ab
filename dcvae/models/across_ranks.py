"""Sums over ranks that can be differentiated, even twice: for statistics of the global batch."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks, 1 without a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def all_rows(x: Tensor) -> Tensor:
    """Gather rows [N, …], N equal on all ranks, to [N · world_size, …] in rank order.

    All ranks must call it. The gradient of a rank's rows sums over their uses on all ranks.
    """
    if world_size() == 1:
        return x
    count, ranks = len(x), world_size()
    before = dist.get_rank() * count
    rest = x.new_zeros(ranks * count - before - count, *x.shape[1:])
    placed = torch.cat([x.new_zeros(before, *x.shape[1:]), x, rest])
    rows: Tensor = _SumOverRanks.apply(placed)
    return rows


def own_rows(rows: Tensor) -> Tensor:
    """This rank's share of the rows that :func:`all_rows` returns."""
    count = len(rows) // world_size()
    first = dist.get_rank() * count if world_size() > 1 else 0
    return rows[first : first + count]


class _SumOverRanks(torch.autograd.Function):
    """The sum over ranks; its gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _SumOverRanks.apply(gradient.contiguous())
