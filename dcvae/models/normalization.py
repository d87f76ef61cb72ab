"""Batch normalization over the global batch, and spectral normalization."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from dcvae.models.across_ranks import all_rows, world_size
from dcvae.objective.precision import at_least_float32, full_precision

POWER_ITERATIONS = 20
"""Of a new layer, before its first pass."""
SPECTRAL_EPS = 1e-12


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization whose statistics are those of all ranks' images, on any backend.

    N ranks with a share each compute what one rank computes with the whole batch, gradients
    included. Every rank must hold the same number of images and call it as often. Statistics are
    taken in float32 or wider, whatever the images' precision.
    """

    def forward(self, x: Tensor, parts: Sequence[int] | None = None) -> Tensor:
        """Map [N, C, H, W] to the same shape and dtype.

        ``parts`` of so many images each have statistics of their own, as if they came in as many
        calls, one after the other; none: one part.
        """
        if not self.training:
            return super().forward(x)
        pieces = torch.split(x, [len(x)] if parts is None else list(parts))
        if world_size() == 1:
            return _joined([super(GlobalBatchNorm2d, self).forward(piece) for piece in pieces])
        # Pixels by channels, a view of maps that lie in memory by pixel.
        exact = [at_least_float32(piece).movedim(1, -1).flatten(0, 2) for piece in pieces]
        own_means = [pixels.mean(0) for pixels in exact]
        centred = [pixels - own for pixels, own in zip(exact, own_means, strict=True)]
        own = [
            torch.stack([c.square().mean(0), m]) for c, m in zip(centred, own_means, strict=True)
        ]
        # [ranks, parts, 2, C] by one exchange: shares are equal, so are the ranks' weights.
        variances, means = all_rows(torch.stack(own).unsqueeze(0)).unbind(2)
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        self._follow(mean.detach(), variance.detach(), [len(pixels) for pixels in exact])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalized = []
        for k, piece in enumerate(pieces):
            shift = self.bias + (own_means[k] - mean[k]) * scale[k]
            pixels = torch.addcmul(shift, centred[k], scale[k])
            normalized.append(pixels.view(len(piece), *piece.shape[2:], -1).movedim(-1, 1))
        return _joined(normalized).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, counts: list[int]) -> None:
        """Move the running statistics by each part's, in order; ``counts`` are this rank's."""
        assert self.running_mean is not None
        assert self.running_var is not None
        momentum = 0.1 if self.momentum is None else self.momentum
        for k, own in enumerate(counts):
            count = own * world_size()
            self.running_mean.lerp_(mean[k].to(self.running_mean), momentum)
            unbiased = variance[k] * (count / max(count - 1, 1))
            self.running_var.lerp_(unbiased.to(self.running_var), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += len(counts)


class SpectralNorm(nn.Module):
    """W / σ(W), σ by power iteration (Miyato et al., 2018, algorithm 1), as a parametrization.

    One iteration at each forward pass in training mode: first v from u, then u from v, as in the
    paper and in the released code (PyTorch's own parametrization has them the other way round).
    In the precision of the weights whatever the networks' is: autocast would make these products
    in half precision on a GPU.
    """

    def __init__(self, weight: Tensor, iterations: int) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("_u", F.normalize(torch.randn(matrix.shape[0]).to(matrix), dim=0))
        self.register_buffer("_v", F.normalize(torch.randn(matrix.shape[1]).to(matrix), dim=0))
        self._u: Tensor
        self._v: Tensor
        for _ in range(iterations):
            self._iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """Map a weight [outputs, …] to itself over its largest singular value."""
        with full_precision(weight.device.type):
            matrix = weight.flatten(1)
            if self.training:
                self._iterate(matrix.detach())
            # Copies: a later pass iterates again before this one is differentiated.
            u, v = self._u.clone(), self._v.clone()
            return weight / torch.dot(u, torch.mv(matrix, v))

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self._v.copy_(F.normalize(torch.mv(matrix.T, self._u), dim=0, eps=SPECTRAL_EPS))
        self._u.copy_(F.normalize(torch.mv(matrix, self._v), dim=0, eps=SPECTRAL_EPS))


def normalize_spectrum(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Divide every weight of convolutions and linear layers below by its largest singular value.

    A few power iterations are made now, so that the first steps already see the right value: the
    released code begins with random vectors. Initialize the weights before. Returns the layers;
    :mod:`dcvae.models.spectral` has them all normalized at once.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        normalized = SpectralNorm(layer.weight, POWER_ITERATIONS)
        # Not tried out, which would be one iteration more.
        register_parametrization(layer, "weight", normalized, unsafe=True)
    return layers


def _joined(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
