"""Activation checkpointing: high-resolution maps are computed again instead of being kept."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


class Recomputing(nn.Module):
    """A growing network, some of whose blocks keep only their input for the backward pass.

    A block that is computed again must not draw random numbers or update statistics: it would do
    so twice. PyTorch's checkpointing allows the second derivatives that the gradient penalty needs;
    DeepSpeed's does not.
    """

    recompute_from: int | None = None
    """Blocks of this resolution (pixels) and above are computed again; None: no block."""

    def made(self, resolution: int, block: Callable[..., T], *inputs: object) -> T:
        """``block(*inputs)``, where ``block`` works at ``resolution``."""
        if self.recompute_from is None or resolution < self.recompute_from:
            return block(*inputs)
        made: T = checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
        return made


def recompute_from(network: nn.Module, resolution: int | None) -> None:
    """Have ``network`` compute its blocks from ``resolution`` pixels up again; None: no block."""
    for part in network.modules():
        if isinstance(part, Recomputing):
            part.recompute_from = resolution
