"""Contact sheets keep pixels, order and transparency."""

import io

import numpy as np
import torch
from PIL import Image

from dcvae.pictures import pairs, png, sheet, tiles


def test_tiles_stand_in_reading_order_with_transparent_gaps():
    images = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 4, 4)
    picture = Image.open(io.BytesIO(png(sheet(images, columns=3))))
    pixels = np.asarray(picture)
    assert pixels.shape == (4 + 1 + 4, 3 * 4 + 2, 4)
    assert [pixels[0, x, 0] for x in (0, 5, 10)] == [0, 64, 128]
    assert [pixels[5, x, 0] for x in (0, 5)] == [191, 255]
    assert pixels[4, 0, 3] == 0
    assert pixels[5, 10, 3] == 0
    assert pixels[0, 0, 3] == 255


def test_small_images_are_enlarged_by_whole_numbers_and_large_ones_reduced():
    images = torch.rand(2, 3, 24, 24) * 2 - 1
    enlarged = tiles(images, side=64)
    assert enlarged.shape == (2, 3, 48, 48)
    assert torch.equal(enlarged[:, :, ::2, ::2], enlarged[:, :, 1::2, 1::2])
    assert tiles(images, side=12).shape == (2, 3, 12, 12)


def test_values_outside_the_range_are_clamped_not_wrapped():
    assert tiles(torch.tensor([[[[-9.0, 9.0]]]]))[0, 0].tolist() == [[0, 255]]


def test_pairs_alternate():
    a, b = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    assert pairs(a, b)[:, 0, 0, 0].tolist() == [0, 1, 0, 1]
