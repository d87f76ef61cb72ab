"""Losses are not computed in half precision, whatever the networks are computed in."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32 if it is bfloat16 or float16, else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
