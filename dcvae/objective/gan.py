"""L_GAN (Eq. 4): real images against two kinds of fakes, reconstructions and prior samples.

The two kinds of fakes have half the weight each. Scores are [N], positive means real. All losses
are to be minimised.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def hinge_discriminator(real: Tensor, reconstruction: Tensor, sample: Tensor) -> Tensor:
    """Hinge form of Eq. 4 for D (the released code's): scalar."""
    fakes = 0.5 * F.relu(1 + reconstruction).mean() + 0.5 * F.relu(1 + sample).mean()
    return F.relu(1 - real).mean() + fakes


def wasserstein_discriminator(
    real: Tensor, reconstruction: Tensor, sample: Tensor, drift: float
) -> Tensor:
    """Wasserstein form of Eq. 4 for D with Progressive GAN's drift term: scalar.

    Gulrajani et al., 2017, Eq. 3 (without its penalty) and Karras et al., 2018, A.1.
    """
    fakes = 0.5 * reconstruction.mean() + 0.5 * sample.mean()
    return fakes - real.mean() + drift * real.square().mean()


def generator_loss(reconstruction: Tensor, sample: Tensor) -> Tensor:
    """Eq. 4 for encoder and decoder, the same for both losses above: scalar."""
    return -0.5 * reconstruction.mean() - 0.5 * sample.mean()


def mixtures(
    real: Tensor, reconstruction: Tensor, sample: Tensor, epsilon: Tensor, first: int
) -> Tensor:
    """Points between real images and fakes, where the gradient of D should have norm 1.

    Images are [N, C, H, W], ``epsilon`` is [N] in [0, 1], ``first`` is the index of the first image
    in the global batch. Images of even index are mixed with reconstructions, the others with
    samples. Fakes may be of lower precision. Returns a leaf that requires grad.
    """
    number = torch.arange(first, first + len(real), device=real.device)
    fakes = torch.where(number.view(-1, 1, 1, 1) % 2 == 0, reconstruction, sample)
    return real.lerp(fakes.to(real), epsilon.view(-1, 1, 1, 1)).detach().requires_grad_()


def gradient_penalty(mixture: Tensor, score: Tensor) -> Tensor:
    """(‖∇_x D(x)‖₂ − 1)², mean over mixtures [N, C, H, W] with scores [N]; differentiable scalar.

    Gulrajani et al., 2017, Eq. 3.
    """
    (gradient,) = torch.autograd.grad(score.sum(), mixture, create_graph=True)
    slope: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return (slope - 1).square().mean()
