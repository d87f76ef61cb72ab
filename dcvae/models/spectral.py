"""Spectral norm of all layers of a network at once: the same numbers in a few kernels.

A layer under :func:`~dcvae.models.normalization.normalize_spectrum` makes one power iteration per
pass and divides its weight by its largest singular value: some ten small operations per layer, and
a network has a dozen layers. Here the matrices of all layers are padded with zeros to one shape and
stacked: the same arithmetic in ten operations for all of them.

Several sets of images that would pass a network one after the other can also pass in one call, with
exactly the same result: if σ₁, σ₂, … are the singular values that the passes would have seen and σ
is the last of them, then conv(x, W / σₖ) = conv(x, W / σ) · σ / σₖ. That saves kernel launches but
multiplies every map once more, so it is used on GPUs; on the CPU the sets pass one by one.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from dcvae.models.layers import box_mean
from dcvae.models.normalization import SPECTRAL_EPS, SpectralNorm
from dcvae.objective.precision import full_precision

Layer = nn.Conv2d | nn.Linear


class NormalizedLayers:
    """Layers whose weights are divided by their largest singular values, for sets of images."""

    def __init__(self, weights: dict[Layer, Tensor], ratios: dict[Layer, Tensor] | None) -> None:
        self.weights = weights
        """W / σ by layer, with the σ of the last set."""
        self.ratios = ratios
        """σ / σₖ of each image [N] by layer, k being its set; None: there is one set."""

    def convolve(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """Apply ``layer`` to [N, inputs, H, W]."""
        return self._convolve(layer, x, self.weights[layer], 1, layer.padding[0])

    def convolve_and_halve(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        """Convolve 3 x 3 and average 2 x 2 boxes, as one 4 x 4 convolution of stride 2."""
        return self._convolve(layer, x, box_mean(self.weights[layer]), 2, 1)

    def linear(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """Apply ``layer`` to [N, inputs]."""
        if self.ratios is None:
            return F.linear(x, self.weights[layer], layer.bias)
        y = F.linear(x, self.weights[layer])
        return _scaled(y, self.ratios[layer].view(-1, 1), layer.bias)

    def _convolve(
        self, layer: nn.Conv2d, x: Tensor, weight: Tensor, stride: int, padding: int | str
    ) -> Tensor:
        if self.ratios is None:
            return F.conv2d(x, weight, layer.bias, stride, padding)
        y = F.conv2d(x, weight, None, stride, padding)
        bias = None if layer.bias is None else layer.bias.view(1, -1, 1, 1)
        return _scaled(y, self.ratios[layer].view(-1, 1, 1, 1), bias)


class Spectrum:
    """Layers under :func:`normalize_spectrum`, normalized together.

    The vectors of the power iterations remain buffers of the layers. In training they are views
    into two stacks, so that one copy updates them all.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)
        self.matrices = [_weight(layer).flatten(1).shape for layer in layers]
        self.rows, self.columns = (max(sides) for sides in zip(*self.matrices, strict=True))
        self.u = self.v = torch.empty(0)

    def normalized(
        self, sizes: Sequence[int], *, training: bool, count: int | None = None
    ) -> NormalizedLayers:
        """The first ``count`` layers (None: all) for sets of ``sizes`` images that pass together.

        In training, one power iteration is made for each set, in order.
        """
        layers = self.layers[:count]
        with full_precision(_weight(layers[0]).device.type):
            stack, sigmas = self._values(layers, len(sizes) if training else 0)
            last = sigmas[:, -1]
            found = self._divided(layers, stack, last)
            if sigmas.shape[1] == 1:
                return NormalizedLayers(found, None)
            ratios = last.unsqueeze(1) / sigmas
            images = torch.cat([ratios[:, k, None].expand(-1, n) for k, n in enumerate(sizes)], 1)
            return NormalizedLayers(found, dict(zip(layers, images.unbind(), strict=True)))

    def normalized_apart(
        self, passes: int, *, training: bool, count: int | None = None
    ) -> list[NormalizedLayers]:
        """As :meth:`normalized`, but for ``passes`` sets that pass one after the other."""
        layers = self.layers[:count]
        with full_precision(_weight(layers[0]).device.type):
            stack, sigmas = self._values(layers, passes if training else 0)
            each = sigmas.expand(-1, passes).unbind(1)
            return [NormalizedLayers(self._divided(layers, stack, s), None) for s in each]

    def _values(self, layers: list[Layer], passes: int) -> tuple[Tensor, Tensor]:
        """The weights as a stack of matrices [L, …], and their largest singular values [L, K]."""
        stack = torch.stack([self._padded(_weight(layer).flatten(1)) for layer in layers])
        u, v = self._iterated(stack.detach(), passes) if passes else self._held(len(layers))
        # The gradient treats u and v as constants (Miyato et al., 2018, section 2.2).
        return stack, (u * torch.bmm(stack, v)).sum(dim=1)

    def _divided(self, layers: list[Layer], stack: Tensor, sigma: Tensor) -> dict[Layer, Tensor]:
        weights = (stack / sigma.view(-1, 1, 1)).unbind()
        return {
            layer: self._cut(weight, matrix).view_as(_weight(layer))
            for layer, weight, matrix in zip(layers, weights, self.matrices, strict=False)
        }

    @torch.no_grad()
    def _iterated(self, stack: Tensor, passes: int) -> tuple[Tensor, Tensor]:
        """u [L, rows, K] and v [L, columns, K] after each of K ``passes``; keeps the last."""
        self._tie()
        count, us, vs = len(stack), [], []
        u = self.u[:count].unsqueeze(2)
        for _ in range(passes):
            v = F.normalize(torch.bmm(stack.mT, u), dim=1, eps=SPECTRAL_EPS)
            u = F.normalize(torch.bmm(stack, v), dim=1, eps=SPECTRAL_EPS)
            us.append(u)
            vs.append(v)
        self.u[:count].copy_(u.squeeze(2))
        self.v[:count].copy_(v.squeeze(2))
        return torch.cat(us, dim=2), torch.cat(vs, dim=2)

    def _held(self, count: int) -> tuple[Tensor, Tensor]:
        """The current u [L, rows, 1] and v [L, columns, 1]."""
        us, vs = self._stacked()
        return us[:count].unsqueeze(2), vs[:count].unsqueeze(2)

    def _stacked(self) -> tuple[Tensor, Tensor]:
        norms = [_norm(layer) for layer in self.layers]
        us = [F.pad(norm._u, (0, self.rows - len(norm._u))) for norm in norms]
        vs = [F.pad(norm._v, (0, self.columns - len(norm._v))) for norm in norms]
        return torch.stack(us), torch.stack(vs)

    def _tie(self) -> None:
        """Make the layers' vectors views into the stacks, again after a copy or a move."""
        norms = [_norm(layer) for layer in self.layers]
        if all(n._u._base is self.u and n._v._base is self.v for n in norms):
            return
        self.u, self.v = self._stacked()
        for norm, u, v in zip(norms, self.u, self.v, strict=True):
            norm._u, norm._v = u[: len(norm._u)], v[: len(norm._v)]

    def _padded(self, matrix: Tensor) -> Tensor:
        rows, columns = matrix.shape
        if (rows, columns) == (self.rows, self.columns):
            return matrix
        return F.pad(matrix, (0, self.columns - columns, 0, self.rows - rows))

    def _cut(self, matrix: Tensor, shape: torch.Size) -> Tensor:
        rows, columns = shape
        if (rows, columns) == (self.rows, self.columns):
            return matrix
        return F.pad(matrix, (0, columns - self.columns, 0, rows - self.rows))


def _weight(layer: Layer) -> Tensor:
    """The parameter, before it is normalized."""
    original: Tensor = _parametrization(layer).original
    return original


def _norm(layer: Layer) -> SpectralNorm:
    return cast(SpectralNorm, _parametrization(layer)[0])


def _parametrization(layer: Layer) -> ParametrizationList:
    return cast(ParametrizationList, cast(nn.ModuleDict, layer.parametrizations)["weight"])


def _scaled(y: Tensor, ratio: Tensor, bias: Tensor | None) -> Tensor:
    """``y`` · ``ratio`` + ``bias`` in the precision of ``y``: enough for a ratio close to 1."""
    ratio = ratio.to(y.dtype)
    return y * ratio if bias is None else torch.addcmul(bias.to(y.dtype), y, ratio)
