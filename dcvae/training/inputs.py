"""Real images as the model sees them: from bytes to [-1, 1], mirrored, and faded in."""

import torch
from torch import Tensor

from dcvae.models.layers import downsample, upsample
from dcvae.pictures import to_float


def to_model(
    images: Tensor,
    device: torch.device,
    flips: Tensor | None,
    fade: float,
    layout: torch.memory_format = torch.channels_last,
) -> Tensor:
    """Map uint8 [N, C, r, r] to float32 [N, C, r, r] in [-1, 1] on ``device``, in ``layout``.

    ``flips`` [N] in [0, 1): images whose number is below one half are flipped left to right. They
    are then :func:`faded_in`.
    """
    x = to_float(images.to(device, non_blocking=True))
    if flips is not None:
        mirrored = (flips < 0.5).to(device).view(-1, 1, 1, 1)
        x = torch.where(mirrored, x.flip(3), x)
    return faded_in(x, fade).contiguous(memory_format=layout)


def faded_in(x: Tensor, fade: float) -> Tensor:
    """Real images as the newest resolution fades in: blended with their own half resolution.

    So are generated ones (Karras et al., 2018, figure 2). ``x`` is [N, C, r, r].
    """
    return upsample(downsample(x)).lerp(x, fade) if fade < 1 else x
