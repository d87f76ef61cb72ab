"""N ranks with a share of the batch each compute what one rank computes with all of it."""

import pytest
import torch
from torch import Tensor

from tests.training import tasks
from tests.training.pool import Pool

METHODS = ["vae", "vae_gan", "vae_contrastive", "dcvae"]
PHASES = (
    'training.phases=[{"resolution":4,"images":32,"batch_size":16},'
    '{"resolution":8,"images":32,"fade_images":32,"batch_size":16}]'
)


def test_the_pool_is_real(pool: Pool) -> None:
    assert [float(x) for x in pool.run(4, tasks.own_rank)] == [6.0] * 4


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("backbone", "resolution", "fade"),
    [(tasks.PROGAN, 4, 1.0), (tasks.PROGAN, 8, 0.4), (tasks.AUTOGAN, 32, 1.0)],
    ids=["progan at 4", "progan fading to 8", "autogan"],
)
def test_gradient_of_every_term(
    pool: Pool, method: str, backbone: list[str], resolution: int, fade: float, world_size: int
) -> None:
    settings = [f"objective.method={method}", "objective.local_patches_after=0", *backbone]
    (one,) = pool.run(1, tasks.term_gradients, settings, resolution, fade)
    many = pool.run(world_size, tasks.term_gradients, settings, resolution, fade)
    terms = {name.partition("/")[0] for name in one}
    assert terms == EXPECTED_TERMS[method]
    for found in many:
        assert_equal(found, one, atol=1e-12)


@pytest.mark.parametrize("world_size", [2, 4])
def test_batch_norm_is_over_the_images_of_all_ranks(pool: Pool, world_size: int) -> None:
    (one,) = pool.run(1, tasks.batch_norm, False)
    for found in pool.run(world_size, tasks.batch_norm, False):
        assert_equal(found, one, atol=1e-12)


@pytest.mark.parametrize(("world_size", "count"), [(2, 4), (2, 12), (4, 8), (4, 12)])
def test_groups_of_the_minibatch_statistic_may_lie_on_several_ranks(
    pool: Pool, world_size: int, count: int
) -> None:
    (one,) = pool.run(1, tasks.stddev, count)
    for found in pool.run(world_size, tasks.stddev, count):
        assert_equal(found, one, atol=1e-12)


@pytest.mark.parametrize(("world_size", "batch"), [(2, 4), (4, 8), (4, 12)])
def test_gradient_of_every_term_with_a_share_of_two_or_three_images(
    pool: Pool, world_size: int, batch: int
) -> None:
    phases = PHASES.replace(":16}", f":{batch}}}")
    settings = ["objective.gan_loss=wgan_gp", phases]
    (one,) = pool.run(1, tasks.term_gradients, settings, 8, 0.4)
    for found in pool.run(world_size, tasks.term_gradients, settings, 8, 0.4):
        assert_equal(found, one, atol=1e-12)


@pytest.mark.parametrize("loss", ["hinge", "wgan_gp"])
@pytest.mark.parametrize("method", ["vae_gan", "dcvae"])
def test_gradient_of_every_term_of_augmented_images(pool: Pool, method: str, loss: str) -> None:
    settings = [f"objective.gan_loss={loss}", "objective.augment=true", PHASES]
    settings.append(f"objective.method={method}")
    (one,) = pool.run(1, tasks.term_gradients, settings, 8, 0.4)
    for found in pool.run(2, tasks.term_gradients, settings, 8, 0.4):
        assert_equal(found, one, atol=1e-12)


@pytest.mark.parametrize("stage", [0, 1])
def test_steps_with_a_share_of_two_images(pool: Pool, stage: int) -> None:
    check_steps(pool, [PHASES.replace(":16}", ":4}"), f"training.zero_stage={stage}"], count=6)


EXPECTED_TERMS = {
    "vae": {"kl", "pixel"},
    "vae_gan": {"kl", "feature", "gan_discriminator", "gradient_penalty", "gan_generator"},
    "vae_contrastive": {"kl_contrastive", "instance_low", "instance_high", "instance_patch"},
    "dcvae": {
        "kl",
        "kl_contrastive",
        "gan_discriminator",
        "gradient_penalty",
        "gan_generator",
        "instance_low",
        "instance_high",
        "instance_patch",
    },
}


@pytest.mark.parametrize("method", METHODS)
def test_weights_and_queues_of_autogan(pool: Pool, method: str) -> None:
    settings = [f"objective.method={method}", "objective.gan_loss=hinge", *tasks.AUTOGAN]
    check_steps(pool, settings, count=3)


@pytest.mark.parametrize("method", METHODS)
def test_weights_and_queues_after_steps_across_growth(pool: Pool, method: str) -> None:
    settings = [f"objective.method={method}", PHASES, "objective.gan_loss=hinge"]
    check_steps(pool, settings, count=6)


@pytest.mark.parametrize(
    "setting",
    [
        "training.zero_stage=1",
        "training.zero_stage=2",
        "training.accumulation=2",
        "objective.gan_loss=wgan_gp",
        "objective.augment=true",
        "training.average_half_life=64",
        "objective.local_patches_after=16",
    ],
)
def test_weights_and_queues_with(pool: Pool, setting: str) -> None:
    check_steps(pool, [PHASES, setting], count=5)


def check_steps(pool: Pool, settings: list[str], count: int) -> None:
    settings = [*settings, *GENTLE]
    plain = [s for s in settings if "zero_stage" not in s and "accumulation" not in s]
    (one,) = pool.run(1, tasks.steps, plain, count)
    first, second = pool.run(2, tasks.steps, settings, count)
    moved = sum(float((one[k] - v).abs().sum()) for k, v in fresh(settings).items() if k in one)
    assert moved > 0.2
    for name in first:
        assert torch.equal(first[name], second[name]), f"{name} differs between the ranks"
    assert_equal(first, one, atol=1e-5)  # A tenth of one Adam step; wrong sums move ten.


GENTLE = ["training.adam_eps=1e-2", "training.learning_rate=1e-4"]
"""Small differences must stay small for the comparison to mean anything. Adam divides by the root
of the second moment: with a tiny eps, a gradient that is zero but for rounding, such as that of a
bias before batch norm, becomes a full step. At 32 x 32 gradients are sums over 1,024 pixels, which
float32 rounds to about 1e-3, and steps of 1e-3 make thirtyfold of a difference each."""


def fresh(settings: list[str]) -> dict[str, Tensor]:
    from dcvae.updates import Networks

    return Networks(tasks.config(settings)).autoencoder.state_dict(prefix="autoencoder.")


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        bound = atol
        if name.startswith("moments/"):  # Gradients, as large as the penalty makes them.
            bound = 5e-3 * float(value.abs().max()) + 5e-5
        torch.testing.assert_close(
            found[name], value, atol=bound, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )
