"""Augmented alike: a reconstruction without a fault is D's input once more, in every update."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dcvae.models import DCVAE, Generated
from dcvae.objective.augmentation import DRAWS
from dcvae.presets import configure
from dcvae.updates import ContrastiveUpdate, DiscriminatorUpdate, GeneratorUpdate, Networks, Noise

N, LATENT = 4, 8


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Images that every autoencoder reconstructs perfectly; its samples are other images."""
    images, samples = torch.rand(2, N, 1, 8, 8, generator=seeded(0)) * 2 - 1

    def perfect(self: DCVAE, x: Tensor, noise: Tensor, prior: Tensor | None = None) -> Generated:
        return Generated(x.clone(), None if prior is None else samples, noise, noise)

    monkeypatch.setattr(DCVAE, "forward", perfect)
    return images


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*, prior: bool) -> Noise:
    z, x = torch.randn(2, N, LATENT, generator=seeded(1))
    own, other = torch.rand(2, N, DRAWS, generator=seeded(2))
    if not prior:
        return Noise(z, augmentation=own)
    return Noise(z, x, torch.rand(N, generator=seeded(3)), 0, own, other)


def of(method: str) -> Networks:
    return Networks(configure("smoke", [f"objective.method={method}", "objective.augment=true"]))


def test_the_discriminators(images: Tensor) -> None:
    networks = of("dcvae")
    seen: list[list[Tensor]] = []

    def watched(parts: list[Tensor], *at: Any) -> Any:
        seen.append(parts)
        return networks.discriminator(parts, *at)

    DiscriminatorUpdate(networks.config.objective, watched)(networks, images, noise(prior=True))
    ((real, sample, reconstruction),) = seen
    assert torch.equal(real, reconstruction)
    assert not torch.equal(real, images)
    assert not torch.equal(real, sample)


def test_the_generators(images: Tensor) -> None:
    networks = of("vae_gan")
    loss = GeneratorUpdate(networks.config.objective)(networks, images, noise(prior=True))
    assert loss.terms["feature"] == 0


def test_the_contrastive(images: Tensor) -> None:
    networks = of("dcvae")
    queries: dict[str, Tensor] = {}

    def watched(parts: list[Tensor], *at: Any) -> Any:
        found = networks.discriminator(parts, *at)
        queries.update(found[0])
        return found

    update = ContrastiveUpdate(networks.config.objective, dual_encoder=watched)
    keys = update(networks, images, noise(prior=False)).keys
    assert keys.keys() == queries.keys() == {"low", "high"}
    for layer, key in keys.items():
        assert torch.equal(key, queries[layer]), "the key encoder begins as a copy of D"
