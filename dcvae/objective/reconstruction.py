"""The reconstruction losses of the methods without a contrastive term (Table 1)."""

from torch import Tensor

from dcvae.objective.precision import at_least_float32


def pixel_loss(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Eq. 1's first term: squared error of [N, C, H, W], mean over pixels and images, scalar."""
    return (images - at_least_float32(reconstruction)).square().mean()


def feature_loss(features: Tensor, reconstructed: Tensor) -> Tensor:
    """Eq. 3's first term: squared error between D's features [N, …], mean over both, scalar."""
    return (at_least_float32(features) - at_least_float32(reconstructed)).square().mean()
