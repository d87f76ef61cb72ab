"""Losses are not computed in half precision, whatever the networks are computed in."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32 if it is bfloat16 or float16, else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def full_precision(device: str) -> AbstractContextManager[object]:
    """Autocast off on the ``device`` type, inside; a device that only counts has none."""
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else nullcontext()
