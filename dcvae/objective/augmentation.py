"""Differentiable augmentation of everything that D sees (Zhao et al., 2020, "DiffAugment").

With few images, D soon memorises them. It cannot if it sees T(x) of real images and T(f(z)) of
fakes; and because T is differentiable, encoder and decoder learn through it without producing
augmented images. An image and its reconstruction are augmented alike wherever they are compared.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

DRAWS = 7
"""How many random numbers the augmentation of one image takes."""
SHIFT = 1 / 8
"""The largest shift, as a share of the image's side."""
CUT = 1 / 2
"""Side of the square that is cut out, as a share of the image's side."""


def augment(images: Tensor, draws: Tensor) -> Tensor:
    """T(x): colour, shift and cut-out of images [N, C, H, W] in [-1, 1]; the same shape and dtype.

    ``draws`` is [N, DRAWS], uniform in [0, 1): brightness, saturation, contrast, shift down and
    right, place of the cut-out. Pixels shifted in from outside, or cut out, are 0.
    """
    return _cut(_shift(_colour(images, draws[:, :3]), draws[:, 3:5]), draws[:, 5:7])


def _colour(x: Tensor, draws: Tensor) -> Tensor:
    """Brightness b in ±½, saturation 0 to 2 around grey, contrast ½ to 1½ around the mean."""
    brightness, saturation, contrast = draws.to(x.dtype).view(-1, 3, 1, 1, 1).unbind(1)
    x = x + (brightness - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * (2 * saturation)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


def _shift(x: Tensor, draws: Tensor) -> Tensor:
    """Shift by up to ``SHIFT`` of the side, in whole pixels."""
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
    """Zero a square, ``CUT`` of the side wide, around a random pixel."""
    size = x.shape[-1]
    half = CUT * size / 2
    centre = (draws * size).floor().view(-1, 2, 1) + 0.5
    away = (torch.arange(size, device=x.device) + 0.5 - centre).abs() < half  # [N, 2, size]
    hole = away[:, 0].unsqueeze(2) & away[:, 1].unsqueeze(1)
    return x.masked_fill(hole.unsqueeze(1), 0.0)
