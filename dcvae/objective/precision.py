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
