"""Batch normalization over the global batch, and spectral normalization."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from dcvae.models.across_ranks import mean_over_ranks, world_size
from dcvae.objective.precision import at_least_float32

POWER_ITERATIONS = 20
"""Of a new layer, before its first pass."""
SPECTRAL_EPS = 1e-12


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization whose statistics are those of all ranks' images, on any backend.

    N ranks with a share each compute what one rank computes with the whole batch, gradients
    included. Every rank must hold the same number of images and call it as often. Statistics are
    taken in float32 or wider, whatever the images' precision.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape and dtype."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        exact = at_least_float32(x)
        mean = mean_over_ranks(exact.mean(dim=(0, 2, 3)))
        centred = exact - mean.view(1, -1, 1, 1)
        variance = mean_over_ranks(centred.square().mean(dim=(0, 2, 3)))
        count = x.numel() // x.shape[1] * world_size()
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.to(self.running_mean), momentum)
            unbiased = (variance * count / max(count - 1, 1)).to(self.running_var)
            self.running_var.lerp_(unbiased, momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)


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
        device = weight.device.type
        known = torch.amp.is_autocast_available(device)  # not where weights are only counted
        with torch.autocast(device, enabled=False) if known else nullcontext():
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


def normalize_spectrum(module: nn.Module) -> None:
    """Divide every weight of convolutions and linear layers below by its largest singular value.

    A few power iterations are made now, so that the first steps already see the right value: the
    released code begins with random vectors. Initialize the weights before.
    """
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            normalized = SpectralNorm(layer.weight, POWER_ITERATIONS)
            # Not tried out, which would be one iteration more.
            register_parametrization(layer, "weight", normalized, unsafe=True)
