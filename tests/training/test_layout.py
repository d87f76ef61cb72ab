"""Weights in channels_last: the same numbers, on one rank and on two."""

import pytest
import torch

from dcvae.updates import Networks
from tests.training import tasks
from tests.training.pool import Pool
from tests.training.test_ranks_equal_one import GENTLE, PHASES, assert_equal

SETTINGS = {
    "autogan": [*tasks.AUTOGAN, "objective.gan_loss=hinge", *GENTLE],
    "progan": [PHASES, "objective.gan_loss=wgan_gp", *GENTLE],
}


@pytest.mark.parametrize("backbone", list(SETTINGS))
def test_steps_with_weights_in_channels_last(pool: Pool, backbone: str) -> None:
    """Across growth too: DeepSpeed reduces and steps such weights."""
    (usual,) = pool.run(1, tasks.steps, SETTINGS[backbone], 3)
    for world_size in (1, 2):
        found = pool.run(world_size, tasks.steps, SETTINGS[backbone], 3, torch.channels_last)
        assert_equal(found[0], usual, atol=1e-5)


def test_which_weights_are_converted() -> None:
    for backbone, settings in SETTINGS.items():
        networks = Networks(tasks.config(settings))
        networks.lay_out(torch.channels_last)
        turned = {
            name
            for name, p in networks.named_parameters()
            if p.dim() == 4 and not p.is_contiguous()
        }
        assert not any("parametrizations" in name for name in turned)
        for owner in ("autoencoder.decoder", "averaged.decoder"):
            assert any(name.startswith(owner) for name in turned), (backbone, owner)
        expected = {"autoencoder", "averaged"}
        if backbone == "progan":  # without spectral norm
            expected |= {"dual_encoder", "key_encoder"}
        assert {name.partition(".")[0] for name in turned} == expected
