"""Batch normalization over the global batch, and spectral normalization."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from dcvae.models.across_ranks import all_rows, world_size
from dcvae.models.dual_encoder import together
from dcvae.objective.precision import at_least_float32, full_precision

POWER_ITERATIONS = 20
"""Power iterations of a new layer before its first pass."""
SPECTRAL_EPS = 1e-12


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization with statistics over the images of all ranks, on any backend.

    N ranks, each with a share of the batch, compute what one rank computes with the whole batch,
    gradients included. All ranks must hold equally many images and call it equally often.
    Statistics are taken in float32 or wider, whatever the images' precision.
    """

    def forward(self, x: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Map [N, C, H, W] to the same shape and dtype.

        Given ``sizes``, the images are consecutive sets of these sizes, each with its own
        statistics, as if in separate calls; None: one set.
        """
        if not self.training:
            return super().forward(x)
        pieces = torch.split(x, [len(x)] if sizes is None else list(sizes))
        if world_size() == 1:
            return together([super(GlobalBatchNorm2d, self).forward(piece) for piece in pieces])
        # [pixels, channels]: a view, if the maps are in channels-last layout.
        exact = [at_least_float32(piece).movedim(1, -1).flatten(0, 2) for piece in pieces]
        own_means = [pixels.mean(0) for pixels in exact]
        centred = [pixels - own for pixels, own in zip(exact, own_means, strict=True)]
        own = [
            torch.stack([c.square().mean(0), m]) for c, m in zip(centred, own_means, strict=True)
        ]
        # [ranks, sets, 2, C] in one exchange; ranks weigh the same, since their shares are equal.
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
        return together(normalized).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, counts: list[int]) -> None:
        """Update the running statistics by each set's in turn; ``counts`` are own pixels."""
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
    paper and in the released code (PyTorch's own parametrization does it the other way round). It
    is computed in the weights' precision: autocast would use half precision on a GPU.
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
        """Divide a weight [outputs, …] by its largest singular value."""
        with full_precision(weight.device.type):
            matrix = weight.flatten(1)
            if self.training:
                self._iterate(matrix.detach())
            # Copies, because a later pass may iterate again before this one is differentiated.
            u, v = self._u.clone(), self._v.clone()
            return weight / torch.dot(u, torch.mv(matrix, v))

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self._v.copy_(F.normalize(torch.mv(matrix.T, self._u), dim=0, eps=SPECTRAL_EPS))
        self._u.copy_(F.normalize(torch.mv(matrix, self._v), dim=0, eps=SPECTRAL_EPS))


def normalize_spectrum(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Put all convolutions and linear layers of ``module`` under spectral norm; return them.

    Initialize their weights first: some power iterations are made right away, so that even the
    first steps divide by the right value (the released code starts from random vectors).
    :mod:`dcvae.models.spectral` normalizes all layers at once.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        normalized = SpectralNorm(layer.weight, POWER_ITERATIONS)
        # unsafe: skips PyTorch's trial call, which would make one more iteration.
        register_parametrization(layer, "weight", normalized, unsafe=True)
    return layers
