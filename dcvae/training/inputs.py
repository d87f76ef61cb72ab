"""Real images on their way to the model: bytes to [-1, 1], mirrored, faded as the model is."""

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

    ``flips`` [N] in [0, 1): images whose number is below one half are flipped left to right. While
    the newest resolution fades in, real images are blended with their own half resolution just
    like generated ones (Karras et al., 2018, figure 2).
    """
    x = to_float(images.to(device, non_blocking=True))
    if flips is not None:
        mirrored = (flips < 0.5).to(device).view(-1, 1, 1, 1)
        x = torch.where(mirrored, x.flip(3), x)
    if fade < 1:
        x = upsample(downsample(x)).lerp(x, fade)
    return x.contiguous(memory_format=layout)
