"""The fast step and the plain one make the same update, in float64 over several iterations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.plain import PlainStep
from dcvae.presets import configure
from dcvae.training.randomness import Rows
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.updates import Networks
from tests.training.plain_engine import plain_engines

BATCH = 4
EXACT = 2e-13
"""What float64 may differ by where sums are made in another order."""
OF_NO_EFFECT = "cell3.c2.bias"
"""Batch norm takes this bias out again: its gradient is rounding, which Adam divides by its own
size. It moves by that, and the mean that batch norm keeps moves with it."""


def networks(settings: list[str]) -> Networks:
    return Networks(configure("cifar10", settings)).double()


def test_three_iterations_agree_in_every_loss_gradient_and_weight() -> None:
    settings = ["model.decoder_width=8", "model.encoder_width=8", "objective.negatives=20"]
    fast, plain = networks(settings), networks(settings)
    start = {name: value.clone() for name, value in fast.state_dict().items()}
    engines = plain_engines(fast)
    fast_step = TrainingStep(fast.config, fast, engines)
    plain_step = PlainStep(plain.config, plain)
    images = 0
    for _ in range(3):
        batches = []
        for _ in range(fast.config.training.discriminator_steps):
            generator = torch.Generator().manual_seed(images)
            x = torch.rand(BATCH, 3, 32, 32, dtype=torch.float64, generator=generator) * 2 - 1
            batches.append((x, Rows(0, images, BATCH, 0, BATCH)))
            images += BATCH
        fast_step([[MicroBatch(x, rows)] for x, rows in batches], images)
        plain_step(batches)
        for name, values in plain_step.losses.items():
            found = [float(value) for value in fast_step.terms[name]]
            assert found == pytest.approx(values, rel=EXACT), name
        # Without momentum, the first moment is the gradient of the last update.
        gradients = {name: s["exp_avg"] for name, s in moments(fast, engines).items()}
        for name, s in moments(plain, plain_step.optimizers).items():
            expected = s["exp_avg"]
            size = 1.0 if name.endswith(OF_NO_EFFECT) else float(expected.abs().max())
            close(gradients[name], expected, EXACT * size, name)
    found, expected = fast.state_dict(), plain.state_dict()
    assert found.keys() == expected.keys()
    moved = {name for name, value in found.items() if not torch.equal(value, start[name])}
    assert {name.split(".")[0] for name in moved} == {
        "autoencoder", "averaged", "dual_encoder", "key_encoder", "queues"
    }  # fmt: skip
    for name, value in expected.items():
        without = name.endswith((OF_NO_EFFECT, "norm.running_mean"))
        close(found[name], value, 2e-9 if without else EXACT, name)


def moments(networks: Networks, optimizers: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    names = {p: n for n, p in networks.named_parameters()}
    adams = [getattr(o, "adam", o) for o in optimizers.values()]
    return {names[p]: state for adam in adams for p, state in adam.state.items()}


def close(found: Tensor, expected: Tensor, atol: float, name: str) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0, msg=lambda m: f"{name}: {m}")


def test_nothing_is_differentiated_that_is_not_used() -> None:
    """None for the autoencoder in the update of D, nor for the weights of D in the generator's."""
    nets = Networks(configure("cifar10", ["model.decoder_width=8", "model.encoder_width=8"]))
    seen: list[tuple[str, str]] = []
    now = {"update": ""}

    def watch(owner: str, module: nn.Module) -> None:
        for parameter in module.parameters():
            parameter.register_hook(lambda g, owner=owner: seen.append((now["update"], owner)))

    watch("autoencoder", nets.autoencoder)
    watch("dual_encoder", nets.discriminator)
    step = TrainingStep(nets.config, nets, plain_engines(nets))
    micro = [MicroBatch(torch.rand(4, 3, 32, 32) * 2 - 1, Rows(0, 0, 4, 0, 4))]
    for update in (step.discriminator, step.generator, step.contrastive):
        now["update"] = update.name
        step.update(update, micro, 0)
    assert set(seen) == {
        ("discriminator", "dual_encoder"),
        ("generator", "autoencoder"),
        ("contrastive", "autoencoder"),
        ("contrastive", "dual_encoder"),
    }
