"""bfloat16 by autocast: convolutions in it, losses, weights and optimizer not."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from dcvae.models.layers import minibatch_stddev, pixel_norm
from dcvae.models.normalization import normalize_spectrum
from dcvae.objective.instance import instance_logits
from dcvae.training.step import TrainingStep
from dcvae.updates import Networks
from tests.training import tasks
from tests.training.plain_engine import plain_engines
from tests.training.pool import Pool
from tests.training.test_ranks_equal_one import GENTLE, PHASES

BFLOAT16 = "training.precision=bfloat16"
BACKBONES = [
    [*tasks.PROGAN, "objective.gan_loss=wgan_gp"],
    [*tasks.AUTOGAN, "objective.gan_loss=hinge"],
]


class Watched(TorchDispatchMode):
    """Notes the types in which operations are computed: of everything they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, set[torch.dtype]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {a.dtype for a in args if isinstance(a, Tensor) and a.is_floating_point()}
        self.seen.setdefault(func.__name__.partition(".")[0], set()).update(given)
        return func(*args, **(kwargs or {}))


def one_step(settings: list[str]) -> tuple[TrainingStep, dict[str, set[torch.dtype]]]:
    config = tasks.config(settings)
    networks = Networks(config)
    phase = config.training.phases[-1]
    networks.grow_to(phase.resolution, 0.5 if phase.fade_images else 1.0)
    generator = torch.Generator().manual_seed(1)
    for queue in networks.queues.values():
        keys = torch.randn(24, queue.keys.shape[1], generator=generator)
        queue.push(torch.nn.functional.normalize(keys, dim=1))  # type: ignore[operator]
    step = TrainingStep(config, networks, plain_engines(networks))
    with Watched() as watched:
        step([tasks.micro_batches(config, phase.resolution, 0)], 0)
    return step, watched.seen


def everything_that_stays(step: TrainingStep) -> Iterator[tuple[str, Tensor]]:
    yield from step.networks.state_dict().items()
    for engine in step.engines.values():
        for parameter, state in engine.adam.state.items():
            yield "a moment", state["exp_avg_sq"]
            yield "a parameter", parameter


@pytest.mark.parametrize("method", ["vae", "vae_gan", "dcvae"])
@pytest.mark.parametrize("backbone", BACKBONES, ids=["progan", "autogan"])
def test_what_is_computed_in_which_precision(backbone: list[str], method: str) -> None:
    settings = [f"objective.method={method}", *backbone]
    step, seen = one_step([*settings, BFLOAT16])
    assert seen["convolution"] == {torch.bfloat16}
    assert seen["convolution_backward"] == {torch.bfloat16}
    if method == "dcvae":
        assert seen["_log_softmax"] == {torch.float32}
    for name, values in step.terms.items():
        assert {value.dtype for value in values} == {torch.float32}, name
    for name, tensor in everything_that_stays(step):
        assert tensor.dtype in (torch.float32, torch.long), name

    exact, seen = one_step(settings)
    assert seen["convolution"] == {torch.float32}
    for name, (value,) in exact.terms.items():
        near = 0.2 if name.startswith("accuracy") else 0.05  # of 16 images, one or two may change
        torch.testing.assert_close(step.terms[name][0], value, rtol=0.05, atol=near, msg=name)


@pytest.mark.parametrize("backbone", BACKBONES, ids=["progan", "autogan"])
def test_gradients_are_computed_outside_autocast(backbone: list[str]) -> None:
    """PyTorch advises it; operations of a backward pass take the types of the forward one."""
    config = tasks.config([*backbone, BFLOAT16])
    networks = Networks(config)
    resolution = config.training.phases[-1].resolution
    networks.grow_to(resolution, 1.0)
    step = TrainingStep(config, networks, plain_engines(networks))
    enabled: dict[str, set[bool]] = {}
    for name, network in networks.trained.items():
        found = enabled.setdefault(name, set())
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.register_hook(
                    lambda gradient, found=found: found.add(torch.is_autocast_enabled("cpu"))
                )
    step([tasks.micro_batches(config, resolution, 0)], 0)
    assert enabled == {"autoencoder": {False}, "dual_encoder": {False}}


def test_similarities_are_not_rounded() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, keys, negatives = (
        torch.nn.functional.normalize(torch.randn(n, 16, generator=generator), dim=1)
        for n in (8, 8, 300)
    )
    exact = instance_logits(queries, keys, negatives, 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(instance_logits(queries, keys, negatives, 0.07), exact)


def test_singular_values_are_found_outside_autocast() -> None:
    """Autocast would make these products in half precision on a GPU."""
    layer = nn.Sequential(nn.Linear(8, 8))
    normalize_spectrum(layer)
    enabled = []

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.mv:
                enabled.append(torch.is_autocast_enabled("cpu"))
            return func(*args, **(kwargs or {}))

    with torch.autocast("cpu", torch.bfloat16), Watch():
        assert layer[0].weight.dtype == torch.float32
    assert enabled
    assert not any(enabled)


def test_statistics_of_a_batch_are_those_of_one_rank(pool: Pool) -> None:
    (one,) = pool.run(1, tasks.batch_norm, True)
    for found in pool.run(2, tasks.batch_norm, True):
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(found[name], one[name], atol=1e-6, rtol=0)
        torch.testing.assert_close(found["y"], one["y"], atol=2e-2, rtol=0)  # a bfloat16 near 3


def test_statistics_of_half_precision_maps_are_taken_in_float32() -> None:
    x = torch.randn(4, 512, 2, 2, generator=torch.Generator().manual_seed(0)) + 30
    for statistic in (minibatch_stddev, pixel_norm):
        low = x.bfloat16()
        found, expected = statistic(low), statistic(low.float())
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, rtol=2**-7, atol=0)


@pytest.mark.parametrize("batch", [4, 8, 12, 16])
def test_the_penalty_s_gradient_is_float32_s_but_for_rounding(pool: Pool, batch: int) -> None:
    """Some processors' second derivatives in bfloat16 are wrong for batches below 16."""
    settings = [*BACKBONES[0], PHASES.replace(":16}", f":{batch}}}")]
    (exact,) = pool.run(1, tasks.term_gradients, settings, 8, 1.0)
    (found,) = pool.run(1, tasks.term_gradients, [*settings, BFLOAT16], 8, 1.0)
    for name, value in exact.items():
        if name.startswith("gradient_penalty/") and name.endswith(".weight"):
            assert float((found[name] - value).norm()) <= 0.15 * float(value.norm()), name


CASES = [("progan", 8, 0.4, 16), ("progan", 8, 0.4, 4), ("autogan", 32, 1.0, 16)]


@pytest.mark.parametrize(("backbone", "resolution", "fade", "batch"), CASES)
def test_two_ranks_equal_one_in_every_term(
    pool: Pool, backbone: str, resolution: int, fade: float, batch: int
) -> None:
    """Losses as in float32; gradients but for the rounding of each rank's own.

    That is measured against float64: how much it is depends on the processor.
    """
    settings = [*dict(zip(("progan", "autogan"), BACKBONES, strict=True))[backbone]]
    if batch != 16:
        settings.append(PHASES.replace(":16}", f":{batch}}}"))
    (exact,) = pool.run(1, tasks.term_gradients, settings, resolution, fade)
    settings.append(BFLOAT16)
    (one,) = pool.run(1, tasks.term_gradients, settings, resolution, fade)
    largest: dict[str, float] = {}
    for name, value in one.items():
        term = name.partition("/")[0]
        largest[term] = max(largest.get(term, 0.0), float(value.norm()))
    for found in pool.run(2, tasks.term_gradients, settings, resolution, fade):
        assert found.keys() == one.keys()
        for name, value in one.items():
            # A bias before batch norm has a gradient of rounding alone: not measured by itself.
            size = max(float(value.norm()), 0.01 * largest[name.partition("/")[0]])
            apart = float((found[name] - value).norm())
            if name.endswith("/value"):
                assert apart <= 1e-3 * size, name
            else:
                rounding = float((value - exact[name]).norm())
                assert apart <= max(0.03 * size, 1.5 * rounding), name


@pytest.mark.parametrize("zero_stage", [0, 1])
@pytest.mark.parametrize("backbone", BACKBONES, ids=["progan", "autogan"])
def test_two_ranks_stay_equal_and_near_one(
    pool: Pool, backbone: list[str], zero_stage: int
) -> None:
    settings = [*backbone, BFLOAT16, *GENTLE]
    start = pool.run(1, tasks.steps, settings, 0)[0]
    (one,) = pool.run(1, tasks.steps, settings, 4)
    first, second = pool.run(2, tasks.steps, [*settings, f"training.zero_stage={zero_stage}"], 4)
    exact = pool.run(1, tasks.steps, [s for s in settings if s != BFLOAT16], 4)[0]
    for part in ("autoencoder", "dual_encoder"):
        names = [n for n in start if n.startswith(f"{part}.") and start[n].is_floating_point()]
        moved, apart, rounded = (
            torch.cat([(a[n] - b[n]).flatten() for n in names]).norm()
            for a, b in ((one, start), (first, one), (one, exact))
        )
        assert moved.isfinite()
        assert apart < 0.05 * moved
        assert rounded < 0.3 * moved
    for name, value in first.items():
        assert torch.equal(second[name], value), name
