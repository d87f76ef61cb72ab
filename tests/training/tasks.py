"""What the rank processes are asked to do. Everything returned is tensors, numbers and names."""

import json
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dcvae.config import Config, parse_config
from dcvae.models.layers import minibatch_stddev
from dcvae.models.normalization import GlobalBatchNorm2d
from dcvae.presets import configure
from dcvae.training import ranks
from dcvae.training.engines import build
from dcvae.training.moments import saved_moments
from dcvae.training.randomness import Rows
from dcvae.training.schedule import stage_at
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.updates import Networks

PROGAN = ["model.resolution=8"]
AUTOGAN = [
    "model.backbone=autogan",
    "model.resolution=32",
    "model.decoder_width=8",
    "model.encoder_width=8",
    'training.phases=[{"resolution":32,"images":64,"batch_size":16}]',
]


def config(settings: list[str]) -> Config:
    """A small model; settings that name phases or a backbone replace the growing one."""
    content = configure("smoke").model_dump(mode="json")
    for setting in settings:
        key, _, text = setting.partition("=")
        section, name = key.split(".")
        content[section][name] = _value(text)
    return parse_config(content)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def global_images(batch: int, resolution: int, images: int, dtype: torch.dtype) -> Tensor:
    """The same pictures for every world size."""
    generator = torch.Generator().manual_seed(images)
    shape = (batch, 1, resolution, resolution)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype) * 2 - 1


def own_rows(all_rows: Tensor) -> Tensor:
    """This rank's contiguous share of the rows of a tensor that covers all ranks."""
    share = len(all_rows) // ranks.world_size()
    return all_rows[ranks.rank() * share : (ranks.rank() + 1) * share]


def micro_batches(settings: Config, resolution: int, images: int) -> list[MicroBatch]:
    """This rank's rows, in micro-batches."""
    count = settings.training.accumulation
    batch = stage_at(settings.training.phases, images).phase.batch_size
    parts = global_images(batch, resolution, images, torch.float32).chunk(count)
    return [micro_batch(settings, x, images, i * len(x)) for i, x in enumerate(parts)]


def micro_batch(settings: Config, all_images: Tensor, images: int, first: int) -> MicroBatch:
    """This rank's share of ``all_images``, which start at row ``first`` of the global batch."""
    own = own_rows(all_images)
    number = first + ranks.rank() * len(own)
    batch = stage_at(settings.training.phases, images).phase.batch_size
    return MicroBatch(own, Rows(settings.training.seed, images, batch, number, len(own)))


def term_gradients(settings: list[str], resolution: int, fade: float) -> dict[str, Tensor]:
    """Gradients of every loss term by every network, averaged over the ranks.

    In float64, or in float32 under autocast where the settings ask for bfloat16.
    """
    chosen = config(settings)
    low = chosen.training.precision == "bfloat16"
    dtype = torch.float32 if low else torch.float64
    networks = Networks(chosen).to(dtype)
    networks.grow_to(resolution, fade)
    generator = torch.Generator().manual_seed(1)
    for queue in networks.queues.values():
        keys = torch.randn(24, queue.keys.shape[1], generator=generator, dtype=dtype)
        queue.push(torch.nn.functional.normalize(keys, dim=1))  # type: ignore[operator]
    batch = chosen.training.phases[0].batch_size
    micro = micro_batch(chosen, global_images(batch, resolution, 0, dtype), 0, 0)
    step = TrainingStep(chosen, networks, {})
    objective, updates = chosen.objective, []
    if objective.adversarial:
        updates.append(step.discriminator)
    if objective.adversarial or not objective.contrastive:
        updates.append(step.generator)
    if objective.contrastive:
        updates.append(step.contrastive)
    found = {}
    for update in updates:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = update(networks, micro.images, step.noise(update, micro, 0))
        for name, value in loss.terms.items():
            if value.requires_grad:
                found |= _gradients(name, value, networks)
    return found


def _gradients(term: str, value: Tensor, networks: Networks) -> dict[str, Tensor]:
    parameters = {n: p for n, p in networks.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(
        value, list(parameters.values()), retain_graph=True, allow_unused=True
    )
    found = {f"{term}/value": ranks.mean(value)}
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            found[f"{term}/{name}"] = ranks.mean(gradient)
    return found


def steps(
    settings: list[str], count: int, layout: torch.memory_format = torch.contiguous_format
) -> dict[str, Tensor]:
    """State after ``count`` steps under DeepSpeed, over the phases of the schedule."""
    chosen = config(settings)
    networks = Networks(chosen)
    ranks.equalize(networks)
    step = TrainingStep(chosen, networks, build(networks.trained, chosen.training))
    networks.lay_out(layout)
    images = 0
    for _ in range(count):
        stage = stage_at(chosen.training.phases, images)
        step.enter(stage)
        step([micro_batches(chosen, stage.phase.resolution, images)], images)
        images += stage.phase.batch_size
    state = {name: value.clone() for name, value in networks.state_dict().items()}
    moments = dict(saved_moments(step.engines["autoencoder"]))
    return state | {f"moments/{name}": value for name, value in moments.items()}


def stddev(count: int) -> dict[str, Tensor]:
    """The minibatch statistic of ``count`` images over all ranks, and its two derivatives."""
    generator = torch.Generator().manual_seed(0)
    all_x = torch.randn(count, 3, 2, 2, generator=generator, dtype=torch.float64)
    x = own_rows(all_x).clone().requires_grad_()
    y = minibatch_stddev(x)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sin().sum(), x)
    return {name: ranks.gather_rows(t) for name, t in (("y", y), ("1", first), ("2", second))}


def weights_by_step(settings: list[str], count: int) -> list[dict[str, Tensor]]:
    """The autoencoder's trained weights before the first and after each of ``count`` steps."""
    chosen = config(settings)
    networks = Networks(chosen)
    step = TrainingStep(chosen, networks, build(networks.trained, chosen.training))
    found, images = [], 0
    for _ in range(count + 1):
        stage = stage_at(chosen.training.phases, images)
        found.append({n: p.detach().clone() for n, p in networks.autoencoder.named_parameters()})
        step.enter(stage)
        step([micro_batches(chosen, stage.phase.resolution, images)], images)
        images += stage.phase.batch_size
    return found


def own_rank() -> Tensor:
    """The sum of all ranks' numbers: shows that the group is real."""
    number = torch.tensor(float(dist.get_rank()))
    dist.all_reduce(number)
    return number


def batch_norm(low: bool) -> dict[str, Tensor]:
    """Output, gradients and running statistics of the decoder's batch norm.

    In float64; or, if ``low``, of bfloat16 images in a float32 layer.
    """
    generator = torch.Generator().manual_seed(0)
    all_x = torch.randn(8, 3, 4, 4, generator=generator, dtype=torch.float64) * 3 + 1
    dtype, layer = (torch.bfloat16, torch.float32) if low else (torch.float64, torch.float64)
    x = own_rows(all_x).clone().to(dtype).requires_grad_()
    norm = GlobalBatchNorm2d(3).to(layer)
    y = norm(x)
    assert y.dtype == dtype
    y = y.double()
    (y.sin() * x.detach()).mean().backward()
    assert x.grad is not None
    assert norm.weight.grad is not None
    return {
        "y": ranks.gather_rows(y),
        "x.grad": ranks.gather_rows(x.grad) / ranks.world_size(),
        "weight.grad": ranks.mean(norm.weight.grad),
        **{name: value.double() for name, value in norm.state_dict().items()},
    }
