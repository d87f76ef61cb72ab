"""Building blocks of Progressive GAN (Karras et al., 2018): section and formula at each.

Shapes: N images, C channels, H x W pixels. All tensors are floating point.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcvae.config import STDDEV_GROUP
from dcvae.models.across_ranks import all_rows, own_rows, world_size
from dcvae.objective.precision import at_least_float32

LEAKY_SLOPE = 0.2
HE_GAIN = math.sqrt(2.0)
Fade = float | Tensor
"""Weight of the newest resolution, 0 to 1. While it fades in, training keeps it on the device, as a
scalar tensor: no decision of the host depends on its value."""


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


class UpConv2d(EqualizedConv2d):
    """Nearest-neighbour upsampling by two and a 3 x 3 convolution, as one operation.

    A transposed 4 x 4 convolution of stride 2 whose overlapping taps are summed: the same numbers
    with 4/9 of the arithmetic (the authors' own "fused scale").
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, 2H, 2W]."""
        kernel = box_sum(self.weight * self.scale).flip(2, 3).transpose(0, 1)
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class DownConv2d(EqualizedConv2d):
    """A 3 x 3 convolution and averaging of 2 x 2 boxes, as one 4 x 4 convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / 2, W / 2]."""
        kernel = box_mean(self.weight * self.scale)
        return F.conv2d(x, kernel, self.bias, stride=2, padding=1)


def box_sum(weight: Tensor) -> Tensor:
    """Sum over 2 x 2 shifts of 3 x 3 kernels: [..., 3, 3] to [..., 4, 4]."""
    return F.avg_pool2d(weight, 2, stride=1, padding=1, divisor_override=1)


def box_mean(weight: Tensor) -> Tensor:
    """A quarter of :func:`box_sum`."""
    return F.avg_pool2d(weight, 2, stride=1, padding=1)


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
    """Leaky rectifier of slope 0.2, used throughout (table 2 there)."""
    return F.leaky_relu(x, LEAKY_SLOPE)


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each pixel's feature vector (dimension 1) to unit mean square (section 4.2).

    The mean is taken in float32 or wider; the result has the dtype of ``x``.
    """
    scale = torch.rsqrt(at_least_float32(x).square().mean(dim=1, keepdim=True) + eps)
    return x * scale.to(x.dtype)


def fading(fade: Fade) -> bool:
    """Whether the newest resolution is still fading in."""
    return isinstance(fade, Tensor) or fade < 1


def blend(before: Tensor, newest: Tensor, fade: Fade) -> Tensor:
    """``before`` · (1 - ``fade``) + ``newest`` · ``fade``, in the dtype of ``before``."""
    if not isinstance(fade, Tensor):
        return before.lerp(newest, fade)
    mixed = at_least_float32(before).lerp(at_least_float32(newest), fade)
    return mixed.to(before.dtype)


def upsample(x: Tensor) -> Tensor:
    """Double height and width by repeating pixels."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downsample(x: Tensor) -> Tensor:
    """Halve height and width by averaging 2 x 2 boxes."""
    return F.avg_pool2d(x, 2)


def minibatch_stddev(x: Tensor, group: int = STDDEV_GROUP, eps: float = 1e-8) -> Tensor:
    """Mean standard deviation of each image's group of ``group`` images (section 3), as a map.

    Maps [N, C, H, W] to [N, 1, H, W]. Groups are contiguous images of the global batch; the last
    one may be shorter. The images of a group that spans several ranks are gathered, so N ranks
    compute what one rank computes on the whole batch. The statistic is taken in float32 or wider;
    the result has the dtype of ``x``.
    """
    n, _, h, w = x.shape
    exact = at_least_float32(x)
    spread = world_size() > 1 and n % group != 0
    deviation = _stddev_of_groups(all_rows(exact) if spread else exact, group, eps).to(x.dtype)
    return (own_rows(deviation) if spread else deviation).view(n, 1, 1, 1).expand(n, 1, h, w)


def _stddev_of_groups(x: Tensor, group: int, eps: float) -> Tensor:
    """The statistic of each of N images, [N]."""
    whole = len(x) - len(x) % group
    statistics = []
    if whole:
        groups = x[:whole].reshape(whole // group, group, -1)
        deviation = groups.var(dim=1, correction=0).add(eps).sqrt().mean(dim=1)
        statistics.append(deviation.repeat_interleave(group))
    if whole < len(x):
        rest = x[whole:].flatten(1).var(dim=0, correction=0).add(eps).sqrt().mean()
        statistics.append(rest.expand(len(x) - whole))
    return torch.cat(statistics)
