"""What a configuration amounts to, before anything is started: sizes, memory, images."""

import torch
from torch import nn

from dcvae.config import Config
from dcvae.updates import Networks

FLOAT32 = 4
"""Bytes of a number."""


def estimate(config: Config, world_size: int) -> str:
    """Tables of parameters by part, memory of a rank without activations, and images by phase."""
    with torch.device("meta"):
        networks = Networks(config)
    return "\n\n".join(
        [_parameters(networks), _memory(config, networks, world_size), _phases(config)]
    )


def _parameters(networks: Networks) -> str:
    autoencoder = networks.autoencoder
    rows: dict[str, nn.Module] = {
        "encoder": autoencoder.encoder,
        "decoder": autoencoder.decoder,
    }
    if networks.dual_encoder is not None:
        rows["dual encoder"] = networks.dual_encoder
    lines = [f"  {name:<14}{_count(network):>14,}" for name, network in rows.items()]
    return "\n".join(["parameters", *lines])


def _memory(config: Config, networks: Networks, world_size: int) -> str:
    """Weights and their average or momentum copy, gradients, Adam's two moments, queues."""
    trained = sum(map(_count, networks.trained.values()))
    copies = sum(map(_count, networks.children())) - trained
    shares = world_size if config.training.zero_stage else 1
    queued = sum(buffer.numel() for queue in networks.queues.values() for buffer in queue.buffers())
    rows = {
        "weights": trained,
        "copies": copies,
        "gradients": trained,
        "moments": 2 * trained // shares,
        "negatives": queued,
    }
    rows["together"] = sum(rows.values())
    lines = [f"  {name:<14}{FLOAT32 * n / 2**20:>10,.1f} MiB" for name, n in rows.items()]
    title = f"memory of each of {world_size} ranks, activations not counted"
    return "\n".join([title, *lines])


def _phases(config: Config) -> str:
    lines = [
        f"  {p.resolution:>4} px{p.fade_images:>14,} fading in{p.images:>14,} at full weight, "
        f"batch {p.batch_size}"
        for p in config.training.phases
    ]
    return "\n".join([f"images: {config.training.total_images:,}", *lines])


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
