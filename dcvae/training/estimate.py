"""What a training will take, before anything is started: parameters, memory, images."""

from dataclasses import dataclass

import torch
from torch import nn

from dcvae.config import Config
from dcvae.training.schedule import steps
from dcvae.updates import Networks

FLOAT32 = 4
"""Bytes per number."""
LATE = 0.1
"""The share of a training by which the keys' encoder may be behind D without a word."""
SHORTEST_LAG = 100
"""The least that was tried, in steps; still shorter trainings only try the machinery."""


@dataclass(frozen=True)
class Estimate:
    """Sizes of a run; ``str()`` makes tables of them."""

    ranks: int
    parameters: dict[str, int]
    """Trained parameters, by network."""
    memory_bytes: dict[str, int]
    """Memory of each rank without activations, by use."""
    images: int
    steps: int
    """Updates of encoder and decoder by each loss."""
    key_lag: float | None
    """How many of them the keys' encoder is behind D; None without keys."""
    phases: list[dict[str, int]]

    def __str__(self) -> str:
        parameters = [f"  {name:<14}{n:>14,}" for name, n in self.parameters.items()]
        memory = [f"  {name:<14}{n / 2**20:>10,.1f} MiB" for name, n in self.memory_bytes.items()]
        phases = [
            f"  {p['resolution']:>4} px{p['fade_images']:>14,} fading in{p['images']:>14,} at full "
            f"weight, batch {p['batch_size']}"
            for p in self.phases
        ]
        tables = {
            "parameters": parameters,
            f"memory of each of {self.ranks} ranks, activations not counted": memory,
            f"images: {self.images:,}, steps: {self.steps:,}": phases + self._advice(),
        }
        return "\n\n".join("\n".join([title, *lines]) for title, lines in tables.items())

    def _advice(self) -> list[str]:
        """What few steps need: keys that are not those of a D of long ago."""
        late = LATE * self.steps
        if self.key_lag is None or self.key_lag <= late or late < SHORTEST_LAG:
            return []
        lag = f"  the keys are {self.key_lag:,.0f} steps behind D, much of so short a training"
        return [f"{lag}; try objective.key_momentum={1 - 1 / SHORTEST_LAG}"]


def estimate(config: Config, world_size: int) -> Estimate:
    """Parameters by network, memory of a rank without activations, images by phase, and steps."""
    objective = config.objective
    with torch.device("meta"):
        networks = Networks(config)
    autoencoder = networks.autoencoder
    counted: dict[str, nn.Module] = {
        "encoder": autoencoder.encoder,
        "decoder": autoencoder.decoder,
    }
    if networks.dual_encoder is not None:
        counted["dual encoder"] = networks.dual_encoder
    return Estimate(
        ranks=world_size,
        parameters={name: _count(network) for name, network in counted.items()},
        memory_bytes=_memory(config, networks, world_size),
        images=config.training.total_images,
        steps=sum(1 for _ in steps(config)),
        key_lag=1 / max(1 - objective.key_momentum, 1e-9) if objective.contrastive else None,
        phases=[phase.model_dump() for phase in config.training.phases],
    )


def _memory(config: Config, networks: Networks, world_size: int) -> dict[str, int]:
    """Weights and their average or momentum copy, gradients, Adam's two moments, queues."""
    trained = sum(map(_count, networks.trained.values()))
    copies = sum(map(_count, networks.children())) - trained
    shares = world_size if config.training.zero_stage else 1
    queued = sum(buffer.numel() for queue in networks.queues.values() for buffer in queue.buffers())
    numbers = {
        "weights": trained,
        "copies": copies,
        "gradients": trained,
        "moments": 2 * trained // shares,
        "negatives": queued,
    }
    numbers["together"] = sum(numbers.values())
    return {name: FLOAT32 * n for name, n in numbers.items()}


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
