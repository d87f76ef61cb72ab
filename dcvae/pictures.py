"""Contact sheets: many images as one PNG, with transparent gaps that suit light and dark pages."""

import io

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

LEVELS_PER_UNIT = 127.5
"""How many of a file's 256 levels make one unit of the range [-1, 1] that models see."""
GAP = 0.06  # of a tile's side


def to_uint8(images: Tensor) -> Tensor:
    """Float images in [-1, 1] as the 256 levels of a file, rounded to the nearest."""
    return ((images.float() + 1) * LEVELS_PER_UNIT).round().clamp(0, 255).to(torch.uint8)


def to_float(images: Tensor) -> Tensor:
    """Images of uint8 as float32 in [-1, 1]."""
    return images.float() / LEVELS_PER_UNIT - 1


def tiles(images: Tensor, side: int | None = None) -> Tensor:
    """Float images ``(N, C, H, W)`` in [-1, 1] as uint8 RGB tiles ``(N, 3, side, side)``.

    Small images are enlarged by a whole factor, so that their pixels stay sharp; larger ones are
    reduced with antialiasing. Without ``side``, tiles keep the images' size.
    """
    x = images.detach().float().cpu().clamp(-1, 1)
    if x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if side and x.shape[-1] < side:
        factor = side // x.shape[-1]
        x = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    elif side and x.shape[-1] > side:
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
    return to_uint8(x)


def sheet(images: Tensor, columns: int, side: int | None = None, group: int = 0) -> Image.Image:
    """A contact sheet of ``images`` (float in [-1, 1]), row by row, as an RGBA picture.

    Columns form groups of ``group`` with wider gaps between them; 0: no groups. An image of
    nothing but NaN leaves its place transparent.
    """
    pieces = tiles(images, side)
    count, _, height, width = pieces.shape
    columns = min(columns, count)
    gap = max(1, round(GAP * width))
    between = [4 * gap if group and i and i % group == 0 else gap for i in range(columns)]
    lefts = [sum(between[1 : i + 1]) + i * width for i in range(columns)]
    canvas = torch.zeros(4, -(-count // columns) * (height + gap) - gap, lefts[-1] + width)
    canvas = canvas.to(torch.uint8)
    for i in images.isfinite().flatten(1).any(dim=1).nonzero().flatten().tolist():
        y, x = (i // columns) * (height + gap), lefts[i % columns]
        canvas[:3, y : y + height, x : x + width] = pieces[i]
        canvas[3, y : y + height, x : x + width] = 255
    return Image.fromarray(canvas.permute(1, 2, 0).numpy(), mode="RGBA")


def pairs(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Two batches ``(N, C, H, W)`` interleaved: input, output, input, output …"""
    return torch.stack([inputs, outputs], dim=1).flatten(0, 1)


def crossed(rows: Tensor, columns: Tensor, grid: Tensor) -> Tensor:
    """``grid (R, K, C, H, W)`` with the images that head its rows and columns, row by row.

    Returns ``(R + 1) · (K + 1)`` images; the corner is empty (NaN).
    """
    lines = [torch.full_like(columns[:1], torch.nan), columns]
    for row, mixed in zip(rows, grid, strict=True):
        lines += [row[None], mixed]
    return torch.cat(lines)


def png(picture: Image.Image) -> bytes:
    """The picture as PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
