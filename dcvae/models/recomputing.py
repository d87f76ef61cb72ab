"""Activation checkpointing: maps of high resolution are made again instead of being kept."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


class Recomputing(nn.Module):
    """A network that grows, some of whose blocks keep only their input for the backward pass.

    What is made again must not draw random numbers or gather statistics: it would do so twice.
    PyTorch's checkpointing allows second derivatives, which the gradient penalty takes;
    DeepSpeed's does not.
    """

    recompute_from: int | None = None
    """Resolution (pixels) of the first blocks to make again; none: keep everything."""

    def made(self, resolution: int, block: Callable[..., T], *inputs: object) -> T:
        """``block(*inputs)``, which works at ``resolution``."""
        if self.recompute_from is None or resolution < self.recompute_from:
            return block(*inputs)
        made: T = checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
        return made


def recompute_from(network: nn.Module, resolution: int | None) -> None:
    """Have all growing parts of ``network`` make maps from ``resolution`` pixels up again."""
    for part in network.modules():
        if isinstance(part, Recomputing):
            part.recompute_from = resolution
