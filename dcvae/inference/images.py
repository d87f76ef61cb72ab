"""Converts images between the forms that people have and those that a model uses."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dcvae.errors import UserError
from dcvae.pictures import to_float, to_uint8
from dcvae.sharding.decoding import opened, to_square
from dcvae.shards.encodings import BadImage

One: TypeAlias = Tensor | NDArray[np.generic] | Image.Image
Images: TypeAlias = One | Sequence[One]
"""What a model accepts; :func:`as_batch` lists the forms."""
_ROUNDING = 0.01
"""How far outside [-1, 1] a pixel may be, because half precision rounds."""


def as_batch(images: Images, resolution: int, channels: int) -> Tensor:
    """Images as one batch, float [N, C, r, r] in [-1, 1].

    ==========================================  ===================================================
    PIL image                                   any size and mode: its central square is resized,
                                                transparency put on white, as a shard set is made
    array uint8 [H, W], [H, W, C], [N, H, W, C]  the same, of each
    tensor or array, float                      [C, r, r] or [N, C, r, r] in [-1, 1], as it is
    tensor uint8 [C, r, r] or [N, C, r, r]      0 … 255, brought to [-1, 1]
    a list or tuple of these                    one after the other
    ==========================================  ===================================================

    Raises:
        UserError: another form, size or range, or no image at all.
    """
    if isinstance(images, Image.Image):
        return _from_pil(images, resolution, channels)
    if isinstance(images, np.ndarray) and images.dtype == np.uint8:
        return _joined([_from_pil(each, resolution, channels) for each in _pictures(images)])
    if isinstance(images, np.ndarray):
        if images.dtype.kind != "f":
            raise UserError(f"arrays of images are uint8 or float, not {images.dtype}")
        return _checked(torch.from_numpy(np.ascontiguousarray(images)), resolution, channels)
    if isinstance(images, Tensor):
        return _checked(images, resolution, channels)
    if isinstance(images, list | tuple):
        return _joined([as_batch(each, resolution, channels) for each in images])
    raise UserError(
        f"images are tensors, arrays or PIL images, or a list of them, not {type(images).__name__}"
    )


def to_array(images: Tensor) -> NDArray[np.uint8]:
    """Images [N, C, H, W] in [-1, 1] as uint8 [N, H, W, C], or [N, H, W] if they are grey."""
    array: NDArray[np.uint8] = to_uint8(images.detach()).cpu().permute(0, 2, 3, 1).numpy()
    return array[..., 0] if array.shape[-1] == 1 else array


def to_pil(images: Tensor) -> list[Image.Image]:
    """Images [N, C, H, W] in [-1, 1] as PIL images of mode RGB or L."""
    return [Image.fromarray(each) for each in to_array(images)]


def _from_pil(image: Image.Image, resolution: int, channels: int) -> Tensor:
    try:
        pixels = to_square(opened(image), resolution, channels)
    except BadImage as error:
        raise UserError(f"an image cannot be used: {error}") from None
    return to_float(torch.tensor(pixels).permute(2, 0, 1)[None])


def _pictures(array: NDArray[np.generic]) -> list[Image.Image]:
    """The images of a uint8 array; three dimensions are one colour image or many grey ones."""
    colours = array.shape[-1] in (1, 3, 4)
    if array.ndim == 2:
        found = [array]
    elif array.ndim == 3:
        found = [array] if colours else list(array)
    elif array.ndim == 4 and colours:
        found = list(array)
    else:
        raise UserError(
            "uint8 arrays of images have shape [H, W], [H, W, C] or [N, H, W, C] with 1, 3 or 4 "
            f"channels, not {list(array.shape)}"
        )
    grey = array.ndim != 2 and colours and array.shape[-1] == 1
    return [Image.fromarray(each[..., 0] if grey else each) for each in found]


def _checked(images: Tensor, resolution: int, channels: int) -> Tensor:
    batch = images[None] if images.dim() == 3 else images
    expected = [channels, resolution, resolution]
    if batch.dim() != 4 or list(batch.shape[1:]) != expected:
        shape = ", ".join(map(str, expected))
        raise UserError(
            f"tensors of images have shape [N, {shape}] or [{shape}], not {list(images.shape)}; "
            "give PIL images or uint8 arrays [H, W, C] to have them cut and resized"
        )
    if batch.dtype == torch.uint8:
        return to_float(batch)
    if not batch.is_floating_point():
        raise UserError(f"tensors of images are float in [-1, 1] or uint8, not {batch.dtype}")
    largest = float(batch.detach().abs().max()) if len(batch) else 0.0
    if not largest <= 1 + _ROUNDING:
        raise UserError(
            f"float images are in [-1, 1], and these reach {largest:.4g}; give uint8, or divide "
            "by 127.5 and subtract 1"
        )
    return batch


def _joined(batches: list[Tensor]) -> Tensor:
    if not batches:
        raise UserError("there is no image: give at least one")
    return torch.cat([batch.to(batches[0]) for batch in batches])
