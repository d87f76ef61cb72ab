"""Fused layers against the plain ones they replace; statistics against NumPy."""

import numpy as np
import torch

from dcvae.models.layers import (
    DownConv2d,
    EqualizedConv2d,
    UpConv2d,
    downsample,
    minibatch_stddev,
    pixel_norm,
    upsample,
)


def test_up_convolution_is_upsampling_then_convolution() -> None:
    x, layer = torch.randn(2, 3, 6, 6, dtype=torch.float64), UpConv2d(3, 5).double()
    expected = EqualizedConv2d.forward(layer, upsample(x))
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)


def test_down_convolution_is_convolution_then_averaging() -> None:
    x, layer = torch.randn(2, 3, 6, 6, dtype=torch.float64), DownConv2d(3, 5).double()
    expected = downsample(EqualizedConv2d.forward(layer, x))
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)


def test_equalized_weights_start_with_unit_gain() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 256, 4, 4)
    out = torch.nn.functional.leaky_relu(EqualizedConv2d(256, 256, 1)(x), 0.2)
    assert 0.8 < float(out.detach().square().mean()) < 1.2


def test_pixel_norm_gives_unit_mean_square() -> None:
    x = pixel_norm(torch.randn(2, 16, 3, 3) * 7)
    torch.testing.assert_close(x.square().mean(1), torch.ones(2, 3, 3))


def test_minibatch_stddev_against_numpy_with_a_short_last_group() -> None:
    x = torch.randn(10, 3, 2, 2, dtype=torch.float64)
    maps = minibatch_stddev(x, group=4)
    assert maps.shape == (10, 1, 2, 2)
    for start in (0, 4, 8):
        rows = x[start : start + 4].numpy()
        expected = np.sqrt(rows.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(maps[start : start + 4].numpy(), expected)
