"""Moving through the latent space: interpolation, mixing, attribute directions (paper 5.4, A.2).

Everything here works on any model with :class:`dcvae.models.DCVAE`'s ``encode`` and ``decode``.
Latents are float ``(N, d)``, images float ``(N, C, H, W)`` in [-1, 1].
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dcvae.errors import UserError


class Autoencoder(Protocol):
    """What a model must offer."""

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]: ...

    def decode(self, z: Tensor) -> Tensor: ...


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """``(1 - t) a + t b``; ``t`` is broadcast against the latents."""
    return a + (b - a) * t


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """From a to b along the great circle of their directions; the norm changes linearly.

    Unlike a straight line, it avoids the centre, where a high-dimensional normal prior has almost
    no mass. ``t`` has shape ``(…, 1)``.
    """
    norm_a, norm_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    unit_a, unit_b = a / norm_a, b / norm_b
    cosine = (unit_a * unit_b).sum(dim=-1, keepdim=True).clamp(-1, 1)
    omega = cosine.acos()
    tangent = unit_b - cosine * unit_a
    tangent = tangent / tangent.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    direction = unit_a * (t * omega).cos() + tangent * (t * omega).sin()
    point: Tensor = direction * (norm_a + (norm_b - norm_a) * t)
    return point


@torch.no_grad()
def interpolate(model: Autoencoder, a: Tensor, b: Tensor, steps: int = 9) -> Tensor:
    """Figures 5 and 9: images between two, evenly spaced on the line between their latents.

    Args:
        a, b: images ``(N, C, H, W)``.
        steps: images in each row, including the two ends; at least 2.

    Returns:
        ``(N, steps, C, H, W)``; the ends are reconstructions.
    """
    if steps < 2:
        raise UserError(f"an interpolation needs 2 steps or more, not {steps}")
    z_a, z_b = model.encode(a)[0], model.encode(b)[0]
    t = torch.linspace(0, 1, steps, device=z_a.device, dtype=z_a.dtype).view(1, steps, 1)
    z = lerp(z_a[:, None], z_b[:, None], t)
    return _rows(model.decode(z.flatten(0, 1)), len(a))


@torch.no_grad()
def mix(
    model: Autoencoder, sources_a: Tensor, sources_b: Tensor, fraction: float = 0.5, seed: int = 0
) -> Tensor:
    """Figure 10: each A with a random subset of its latent dimensions replaced by each B's.

    The subset is the same for the whole grid, so a column shows the same change in every row.

    Args:
        sources_a: images ``(R, C, H, W)``, one for each row.
        sources_b: images ``(K, C, H, W)``, one for each column.
        fraction: share of the dimensions taken from B, in [0, 1].

    Returns:
        ``(R, K, C, H, W)``.
    """
    if not 0 <= fraction <= 1:
        raise UserError(f"the mixed fraction must be between 0 and 1, not {fraction}")
    z_a, z_b = model.encode(sources_a)[0], model.encode(sources_b)[0]
    size = z_a.shape[1]
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    taken = torch.zeros(size, dtype=torch.bool)
    taken[order[: round(fraction * size)]] = True
    z = torch.where(taken.to(z_a.device), z_b[None], z_a[:, None])
    return _rows(model.decode(z.flatten(0, 1)), len(sources_a))


@torch.no_grad()
def attribute_direction(model: Autoencoder, with_it: Tensor, without_it: Tensor) -> Tensor:
    """A.2: mean latent of images with an attribute minus that of images without it, ``(d,)``.

    The paper takes 20 images of each kind.
    """
    if not len(with_it) or not len(without_it):
        raise UserError("a direction needs images with the attribute and images without it")
    return direction_between(model.encode(with_it)[0], model.encode(without_it)[0])


def direction_between(with_it: Tensor, without_it: Tensor) -> Tensor:
    """The difference ``(d,)`` of the means of two sets of latents, ``(N, d)`` and ``(M, d)``."""
    return with_it.mean(dim=0) - without_it.mean(dim=0)


@torch.no_grad()
def edit(
    model: Autoencoder,
    images: Tensor,
    direction: Tensor,
    strengths: Sequence[float] = (-1.0, 0.0, 1.0),
) -> Tensor:
    """Figure 6: images moved along an attribute's direction.

    Args:
        strengths: multiples of ``direction`` that are added; 0 is the plain reconstruction.

    Returns:
        ``(N, len(strengths), C, H, W)``.
    """
    z = model.encode(images)[0]
    scale = torch.tensor(list(strengths), device=z.device, dtype=z.dtype).view(1, -1, 1)
    moved = z[:, None] + scale * direction.to(z)
    return _rows(model.decode(moved.flatten(0, 1)), len(images))


def _rows(images: Tensor, rows: int) -> Tensor:
    """``(rows · k, C, H, W)`` as ``(rows, k, C, H, W)``."""
    return images.reshape(rows, -1, *images.shape[1:])
