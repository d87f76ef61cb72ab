"""Losses are never computed in half precision, whatever precision the networks use."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32 if it is bfloat16 or float16, otherwise unchanged."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def full_precision(device: str) -> AbstractContextManager[object]:
    """Turn autocast off for this ``device`` type; does nothing for ``meta``, which has none."""
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else nullcontext()


FEWEST = 16
"""Second derivatives of convolutions of fewer images are not computed in bfloat16 on a CPU."""


def second_derivatives(images: Tensor) -> AbstractContextManager[object]:
    """What to compute D of ``images`` [N, …] in, if its gradient is to be differentiated again.

    PyTorch does that by a convolution that takes the N images for channels. On processors with AMX,
    oneDNN's bfloat16 kernel for it gives numbers that have nothing to do with the right ones for
    N = 2, 4, …, 14 and maps from 8 x 8 up, and no error. Float32 is used there.
    """
    wrong = images.device.type == "cpu" and len(images) < FEWEST
    return full_precision("cpu") if wrong else nullcontext()
