"""Each phase has its step size, whoever keeps the moments; the presets have one recipe."""

import pytest

from dcvae.config import TrainingConfig
from dcvae.presets import PRESETS, configure
from tests.training import tasks
from tests.training.pool import Pool

PHASES = (
    'training.phases=[{"resolution":4,"images":32,"batch_size":16},'
    '{"resolution":8,"images":32,"batch_size":16,"learning_rate_factor":4}]'
)


@pytest.mark.parametrize(("world_size", "zero_stage"), [(1, 0), (2, 0), (2, 1), (2, 2)])
def test_the_first_step_of_a_layer_is_its_phases_rate(
    pool: Pool, world_size: int, zero_stage: int
) -> None:
    """Adam's first step is its step size for every weight, whatever the gradient."""
    settings = ["objective.method=vae", PHASES, f"training.zero_stage={zero_stage}"]
    for weights in pool.run(world_size, tasks.weights_by_step, settings, 3):
        for layer, step, rate in (("to_rgb.4", 0, 0.001), ("to_rgb.8", 2, 0.004)):
            name = f"decoder.{layer}.weight"
            moved = (weights[step + 1][name] - weights[step][name]).abs()
            assert moved.mean() == pytest.approx(rate, rel=1e-3), name


def recipe(training: TrainingConfig) -> list[tuple[int, float]]:
    return [(phase.batch_size, training.rate_in(phase)) for phase in training.phases]


def test_the_presets_that_grow_follow_one_recipe() -> None:
    """That of Progressive GAN's released code on eight GPUs."""
    large = PRESETS["celebahq512"].training
    assert recipe(large) == [
        *((512, 1e-3), (256, 1e-3), (128, 1e-3), (64, 1e-3), (32, 1e-3)),
        *((32, 1.5e-3), (32, 2e-3), (32, 3e-3)),
    ]
    for name in ("celeba128", "lsun_bedroom128"):
        small = PRESETS[name].training
        assert small.phases[:-1] == large.phases[: len(small.phases) - 1]
        assert recipe(small) == recipe(large)[: len(small.phases)]
    for name in ("celeba128", "lsun_bedroom128", "celebahq512"):
        training = PRESETS[name].training
        assert training.total_images == 12_000_000
        assert training.phases[-1].images >= 2_400_000
        assert training.checkpoint_activations_from is None
        assert all(phase.fade_images == 600_000 for phase in training.phases[1:])


def test_pictures_of_32_pixels_are_not_flipped() -> None:
    assert not PRESETS["cifar10"].training.mirror
    assert not PRESETS["stl10"].training.mirror


def test_a_lower_rate_is_lower_in_every_phase() -> None:
    training = configure("smoke", [PHASES, "training.learning_rate=0.01"]).training
    assert [training.rate_in(phase) for phase in training.phases] == [0.01, 0.04]
