"""Each method has the networks it needs, and no more."""

import pytest
import torch

from dcvae.presets import configure
from dcvae.updates import DiscriminatorUpdate, GeneratorUpdate, Networks, Noise


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("vae", {"autoencoder", "averaged"}),
        ("vae_gan", {"autoencoder", "averaged", "dual_encoder"}),
        (
            "vae_contrastive",
            {"autoencoder", "averaged", "dual_encoder", "key_encoder", "queues"},
        ),
        ("dcvae", {"autoencoder", "averaged", "dual_encoder", "key_encoder", "queues"}),
    ],
)
def test_what_a_checkpoint_of_a_method_holds(method: str, parts: set[str]) -> None:
    networks = Networks(configure("smoke", [f"objective.method={method}"]))
    assert {name.partition(".")[0] for name in networks.state_dict()} == parts
    assert set(networks.trained) == parts & {"autoencoder", "dual_encoder"}


def test_an_update_is_a_function_that_anyone_may_call() -> None:
    config = configure("smoke", ["objective.gan_loss=hinge"])
    networks = Networks(config)
    images, noise = torch.rand(4, 1, 8, 8) * 2 - 1, Noise(torch.randn(4, 8), torch.randn(4, 8))
    loss = DiscriminatorUpdate(config.objective)(networks, images, noise)
    loss.value.backward()
    assert loss.terms.keys() == {"gan_discriminator"}
    assert all(p.grad is None for p in networks.autoencoder.parameters())
    terms = GeneratorUpdate(config.objective)(networks, images, noise).terms
    assert terms.keys() == {"kl", "gan_generator"}
