"""Eleven steps of the released code: its losses, weights and keys from the same start.

``released_step.json`` holds what the authors' code (github.com/mlpc-ucsd/DC-VAE, commit 75c109c)
gave at reduced width in float64. Weights, images and noise are formulas, so that nothing but
numbers had to be kept; the file says which.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dcvae.config import Config
from dcvae.presets import configure
from dcvae.training.randomness import Rows
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.updates import Networks
from tests.training.plain_engine import plain_engines

RELEASED: dict[str, Any] = json.loads(Path(__file__).with_name("released_step.json").read_text())
EXACT = 2e-13
"""What float64 may differ by where sums are made in another order."""
OF_NO_EFFECT = {"cell3.c2.bias": 1e-9}
"""Batch norm takes this bias out again, so that its gradient is rounding, whatever made it; Adam
divides that by its own size, and after some steps the bias itself differs by 1e-10."""
BATCH, STEPS, QUEUE = 4, 11, 32
SETTINGS = [
    "model.decoder_width=16",
    "model.encoder_width=16",
    "model.latent_dim=8",
    "model.embedding_dim=4",
    f"objective.negatives={QUEUE}",
    f"objective.kl_weight={1e-6 * BATCH}",
]
"""The rest of the preset is the released run's, as it must be."""

OUR_NAMES = {
    **{"c_sc": "shortcut", "skip_in_ops": "skip_in", "l1": "dense", "head_disc": "score_head"},
    **{"to_rgb.0": "norm", "to_rgb.2": "to_rgb"},
    **{"head_b1.0": "low_map", "head_b1.2": "low_embedding"},
    "weight_orig": "parametrizations.weight.original",
}


def our_name(network: str, name: str) -> str | None:
    """What a parameter of the released ``network`` is called here; none: its unused heads."""
    if name.startswith(("head_b2", "head_b3", "head_b4")):
        return None
    if name.startswith("l5"):
        name = name.replace("l5", "moments" if network == "encoder" else "dense")
    for theirs, ours in OUR_NAMES.items():
        name = re.sub(rf"\b{re.escape(theirs)}\b", ours, name)
    return f"trunk.{name}" if name.startswith("block") else name


def wave(shape: tuple[int, ...], k: float, a: float = 0.7, scale: float = 1.0) -> Tensor:
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(a * index + 1.3 * k)).view(shape)


@dataclass
class Waves(Rows):
    """The noise of a released step in place of ours."""

    number: int
    first: int = 0
    total: int = BATCH

    def normal(self, purpose: str, dimensions: int, ratio: int = 1) -> Tensor:
        first = {
            "discriminator/prior": 500,
            "discriminator/posterior": 520,
            "generator/prior": 540,
            "generator/posterior": 560,
            "contrastive/posterior": 580,
        }[purpose]
        return wave((ratio * BATCH, dimensions), first + self.number, a=1.7, scale=1.4)


def as_released(config: Config) -> Networks:
    """Our networks with the released run's weights, vectors of spectral norm and queues."""
    networks = Networks(config).double()
    with torch.no_grad():
        for network, theirs in RELEASED["parameters"].items():
            ours = dict(named(networks, network).named_parameters())
            for name, shape, k in theirs:
                found = our_name(network, name)
                if found is not None:
                    ours.pop(found).copy_(start(network, name, tuple(shape), k))
            assert not ours
        for name, buffer in networks.named_buffers():
            if name.endswith(("._u", "._v")):
                buffer.copy_(nn.functional.normalize(wave(buffer.shape, 7, a=1.1) + 0.01, dim=0))
    for copy, source in (("averaged", "autoencoder"), ("key_encoder", "dual_encoder")):
        getattr(networks, copy).load_state_dict(getattr(networks, source).state_dict())
    for layer, k in (("low", 300), ("high", 301)):
        keys = nn.functional.normalize(wave((4, QUEUE), k, a=1.9) + 0.01, dim=0)
        networks.push(layer, keys.T)
    return networks


def start(network: str, name: str, shape: tuple[int, ...], k: int) -> Tensor:
    if len(shape) > 1:
        return wave(shape, k, scale=1.5 / math.sqrt(math.prod(shape[1:])))
    if network == "decoder" and name.startswith("to_rgb.0"):
        return wave(shape, k, scale=0.1) + (1 if name.endswith("weight") else 0)
    return wave(shape, k, scale=0.05)


def named(networks: Networks, network: str) -> nn.Module:
    if network == "dual_encoder":
        return networks.discriminator
    return getattr(networks.autoencoder, network)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[Networks, dict[str, list[float]]]]:
    """The networks after all steps, and every term as often as it was computed."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        config = configure("cifar10", SETTINGS)
        networks = as_released(config)
        step = TrainingStep(config, networks, plain_engines(networks))
        terms: dict[str, list[float]] = {}
        at_once = config.training.discriminator_steps
        for first in range(0, STEPS, at_once):
            numbers = range(first, min(first + at_once, STEPS))
            step([[micro_batch(s)] for s in numbers], first * BATCH)
            for name, values in step.terms.items():
                terms.setdefault(name, []).extend(map(float, values))
        yield networks, terms
    finally:
        torch.set_default_dtype(before)


def micro_batch(s: int) -> MicroBatch:
    return MicroBatch(wave((BATCH, 3, 32, 32), 400 + s, a=0.011, scale=0.9), Waves(s))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("discriminator", "gan_discriminator"),
        ("generator", "gan_generator"),
        ("kl", "kl"),
        ("instance_b1", "instance_low"),
        ("instance_final", "instance_high"),
    ],
)
def test_every_loss(
    trained: tuple[Networks, dict[str, list[float]]], theirs: str, ours: str
) -> None:
    expected = [step[theirs] for step in RELEASED["steps"] if theirs in step]
    weight = 1e-6 * BATCH if theirs == "kl" else 1.0
    assert [weight * value for value in trained[1][ours]] == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("network", ["encoder", "decoder", "dual_encoder"])
def test_every_weight_after_the_last_step(
    trained: tuple[Networks, dict[str, list[float]]], network: str
) -> None:
    ours = dict(named(trained[0], network).named_parameters())
    for name, *expected in RELEASED["after"][network]:
        found = our_name(network, name)
        if found is not None:
            near = OF_NO_EFFECT.get(name, EXACT)
            assert sums(ours[found]) == pytest.approx(expected, rel=near, abs=near), name


def test_the_averaged_decoder(trained: tuple[Networks, dict[str, list[float]]]) -> None:
    ours = dict(trained[0].averaged.decoder.named_parameters())
    names = [name for name, *_ in RELEASED["parameters"]["decoder"]]
    for name, expected in zip(names, RELEASED["averaged_decoder"], strict=True):
        near = OF_NO_EFFECT.get(name, EXACT)
        found = sums(ours[str(our_name("decoder", name))])
        assert found == pytest.approx(expected, rel=near, abs=near), name


def sums(x: Tensor) -> list[float]:
    """The sum of the elements and that of their squares."""
    return [float(x.detach().sum()), float(x.detach().square().sum())]


@pytest.mark.parametrize(("theirs", "ours"), [("b1", "low"), ("final", "high")])
def test_the_keys(trained: tuple[Networks, dict[str, list[float]]], theirs: str, ours: str) -> None:
    keys = trained[0].negatives(ours)
    found = [float(keys.sum()), float(keys.pow(3).sum())]
    assert found == pytest.approx(RELEASED["keys"][theirs], rel=EXACT)
