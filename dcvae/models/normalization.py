"""Batch normalization over the global batch, and spectral normalization."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import register_parametrization

from dcvae.models.across_ranks import mean_over_ranks, world_size

POWER_ITERATIONS = 20


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization whose statistics are those of all ranks' images, on any backend.

    N ranks with a share each compute what one rank computes with the whole batch, gradients
    included. Every rank must hold the same number of images and call it as often.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        mean = mean_over_ranks(x.mean(dim=(0, 2, 3)))
        centred = x - mean.view(1, -1, 1, 1)
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
        return centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


class SpectralNorm(_SpectralNorm):
    """PyTorch's spectral norm, in the precision of the weights whatever the networks' is.

    Autocast would make its products in half precision on a GPU, and its vectors stay float32.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Map a weight to itself over its largest singular value."""
        device = weight.device.type
        known = torch.amp.is_autocast_available(device)  # not where weights are only counted
        with torch.autocast(device, enabled=False) if known else nullcontext():
            normalized: Tensor = super().forward(weight)
        return normalized


def normalize_spectrum(module: nn.Module) -> None:
    """Divide every weight of convolutions and linear layers below by its largest singular value.

    Miyato et al., 2018. One power iteration at each forward pass in training mode; a few now, so
    that the first steps already see the right value. Initialize the weights before.
    """
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            register_parametrization(layer, "weight", SpectralNorm(layer.weight))
            with torch.no_grad():
                for _ in range(POWER_ITERATIONS):
                    _ = layer.weight
