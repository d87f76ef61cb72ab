"""Random numbers that depend on (seed, images seen, purpose) alone.

They are drawn for the global batch and cut into the ranks' shares, so that the result of a run is
the same for every number of ranks, and a resumed run needs no random state.
"""

import hashlib

import torch
from torch import Tensor

from dcvae.training import ranks


def _generator(seed: int, images: int, purpose: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{images}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def normal(shape: tuple[int, ...], seed: int, images: int, purpose: str) -> Tensor:
    """This rank's rows of standard normal float32 numbers; ``shape`` is that of one rank."""
    return ranks.own_rows(torch.randn(_all(shape), generator=_generator(seed, images, purpose)))


def uniform(shape: tuple[int, ...], seed: int, images: int, purpose: str) -> Tensor:
    """This rank's rows of float32 numbers in [0, 1); ``shape`` is that of one rank."""
    return ranks.own_rows(torch.rand(_all(shape), generator=_generator(seed, images, purpose)))


def whole_numbers(below: int, count: int, seed: int, images: int, purpose: str) -> list[int]:
    """``count`` whole numbers in [0, below), equal on every rank."""
    return torch.randint(below, (count,), generator=_generator(seed, images, purpose)).tolist()


def _all(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0] * ranks.world_size(), *shape[1:])
