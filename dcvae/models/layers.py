"""Building blocks of Progressive GAN (Karras et al., 2018): section and formula at each.

Shapes: N images, C channels, H x W pixels. All tensors are floating point.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAKY_SLOPE = 0.2
HE_GAIN = math.sqrt(2.0)


class EqualizedConv2d(nn.Module):
    """Convolution with equalized learning rate (4.1): w = ŵ · gain / √fan_in, ŵ ~ N(0, 1)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float = HE_GAIN) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(inputs * kernel * kernel)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H, W]."""
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class EqualizedLinear(nn.Module):
    """Fully connected layer with equalized learning rate (section 4.1)."""

    def __init__(self, inputs: int, outputs: int, gain: float = HE_GAIN) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = gain / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs] to [N, outputs]."""
        return F.linear(x, self.weight * self.scale, self.bias)


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky rectifier of slope 0.2, everywhere in both networks (table 2 there)."""
    return F.leaky_relu(x, LEAKY_SLOPE)


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each pixel's feature vector (dimension 1) to unit mean square (section 4.2)."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + eps)


def upsample(x: Tensor) -> Tensor:
    """Double height and width by repeating pixels."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downsample(x: Tensor) -> Tensor:
    """Halve height and width by averaging 2 x 2 boxes."""
    return F.avg_pool2d(x, 2)


def minibatch_stddev(x: Tensor, group: int = 4, eps: float = 1e-8) -> Tensor:
    """Append one map with the standard deviation over groups of ``group`` images (section 3).

    Groups are contiguous images, so that ranks whose batches are multiples of ``group`` compute
    what one rank computes on the whole batch; a last, shorter group is allowed.
    """
    n, _, h, w = x.shape
    maps = [
        chunk.var(dim=0, correction=0).add(eps).sqrt().mean().expand(len(chunk), 1, h, w)
        for chunk in torch.split(x, min(group, n))
    ]
    return torch.cat([x, torch.cat(maps)], dim=1)
