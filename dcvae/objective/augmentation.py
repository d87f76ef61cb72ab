"""Differentiable augmentation of everything that D sees (Zhao et al., 2020, "DiffAugment").

With few images D soon knows them by heart. If D sees T(x) of real images and T(f(z)) of fakes, it
cannot, and because T is differentiable, encoder and decoder learn through it without taking it
over. An image and its reconstruction are augmented alike wherever they are compared.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

DRAWS = 7
"""Random numbers that the augmentation of an image takes."""
SHIFT = 1 / 8
"""The farthest shift, as a share of the side."""
CUT = 1 / 2
"""The side of the square that is cut out, as a share of the side."""


def augment(images: Tensor, draws: Tensor) -> Tensor:
    """T(x): colour, shift and cut-out of images [N, C, H, W] in [-1, 1]; the same shape and dtype.

    ``draws`` is [N, DRAWS], uniform in [0, 1): brightness, saturation, contrast, shift down and
    right, the place of the cut-out. What comes in from outside, and what is cut out, is 0.
    """
    return _cut(_shift(_colour(images, draws[:, :3]), draws[:, 3:5]), draws[:, 5:7])


def _colour(x: Tensor, draws: Tensor) -> Tensor:
    """x + b, b in ±½; around each pixel's grey by 0 to 2; around the image's mean by ½ to 1½."""
    brightness, saturation, contrast = draws.to(x.dtype).view(-1, 3, 1, 1, 1).unbind(1)
    x = x + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * (2 * saturation)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


def _shift(x: Tensor, draws: Tensor) -> Tensor:
    """Up to ``SHIFT`` of the side in whole pixels."""
    most = round(SHIFT * x.shape[-1])
    by = (draws * (2 * most + 1)).long()  # 0 to 2·most
    number = torch.arange(len(x), device=x.device).view(-1, 1, 1)
    rows, columns = (
        by[:, axis].view(-1, 1) + torch.arange(x.shape[2 + axis], device=x.device)
        for axis in (0, 1)
    )
    padded = F.pad(x, (most,) * 4).permute(0, 2, 3, 1)
    return padded[number, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


def _cut(x: Tensor, draws: Tensor) -> Tensor:
    """A square of ``CUT`` of the side around a pixel becomes 0, as far as it lies inside."""
    size = x.shape[-1]
    half = CUT * size / 2
    centre = (draws * size).floor().view(-1, 2, 1) + 0.5
    away = (torch.arange(size, device=x.device) + 0.5 - centre).abs() < half  # [N, 2, size]
    hole = away[:, 0].unsqueeze(2) & away[:, 1].unsqueeze(1)
    return x.masked_fill(hole.unsqueeze(1), 0.0)
