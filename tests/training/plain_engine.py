"""Engines without DeepSpeed, which does not reduce float64 gradients."""

from typing import Any

from torch import Tensor

from dcvae.config import TrainingConfig
from dcvae.training.engines import PartAdam
from dcvae.updates import Networks


class PlainEngine:
    """What an engine does, on one rank."""

    def __init__(self, network: Any, training: TrainingConfig, fused: bool) -> None:
        self.network = network
        self.adam = PartAdam(
            network.parts(),
            lr=training.learning_rate,
            betas=training.adam_betas,
            eps=training.adam_eps,
            fused=fused,
        )

    def set_learning_rate(self, rate: float) -> None:
        for group in self.adam.param_groups:
            group["lr"] = rate

    def __call__(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def expect(self, active: set[str]) -> None:
        pass

    def count(self, active: set[str]) -> None:
        pass

    def step(self, active: set[str]) -> None:
        self.adam.active = active
        self.adam.step()
        self.adam.zero_grad()


def plain_engines(networks: Networks, *, fused: bool = False) -> Any:
    """An engine for each network that is trained; ``fused``: Adam's steps counted on the device."""
    training = networks.config.training
    return {
        name: PlainEngine(network, training, fused) for name, network in networks.trained.items()
    }
