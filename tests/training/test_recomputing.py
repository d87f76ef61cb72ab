"""Activation checkpointing changes memory and time, and no number."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dcvae.errors import UserError
from dcvae.presets import configure
from dcvae.training.randomness import Rows
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.updates import Networks
from tests.training import tasks
from tests.training.plain_engine import plain_engines
from tests.training.pool import Pool

PHASES = (
    'training.phases=[{"resolution":4,"images":32,"batch_size":16},'
    '{"resolution":8,"images":32,"fade_images":16,"batch_size":16},'
    '{"resolution":16,"images":32,"fade_images":32,"batch_size":16}]'
)
GROWN_TO_16 = ["model.resolution=16", PHASES]


@pytest.mark.parametrize(
    ("method", "resolution", "fade", "first"),
    [("dcvae", 4, 1.0, 4), ("dcvae", 8, 0.4, 4), ("dcvae", 16, 0.7, 8), ("vae_gan", 16, 1.0, 16)],
)
def test_gradients_of_every_term(
    pool: Pool, method: str, resolution: int, fade: float, first: int
) -> None:
    """The gradient penalty's second derivatives are among them."""
    settings = [f"objective.method={method}", "objective.local_patches_after=0", *GROWN_TO_16]
    (kept,) = pool.run(1, tasks.term_gradients, settings, resolution, fade)
    again = [*settings, f"training.checkpoint_activations_from={first}"]
    (made,) = pool.run(1, tasks.term_gradients, again, resolution, fade)
    assert kept.keys() == made.keys()
    assert f"gradient_penalty/dual_encoder.trunk.from_rgb.{resolution}.weight" in kept
    for name, value in kept.items():
        assert torch.equal(made[name], value), name


@pytest.mark.parametrize("setting", ["training.zero_stage=1", "training.precision=bfloat16"])
def test_weights_after_steps_across_growth(pool: Pool, setting: str) -> None:
    settings = [*GROWN_TO_16, setting]
    kept, _ = pool.run(2, tasks.steps, settings, 7)
    made, _ = pool.run(2, tasks.steps, [*settings, "training.checkpoint_activations_from=8"], 7)
    assert kept.keys() == made.keys()
    for name, value in kept.items():
        assert torch.equal(made[name], value), name


def test_a_resumed_run_may_change_it() -> None:
    digests = {
        configure("digits", [f"training.checkpoint_activations_from={value}"]).digest()
        for value in ("none", 8, 16)
    }
    assert len(digests) == 1
    with pytest.raises(UserError, match="autogan has none"):
        configure("cifar10", ["training.checkpoint_activations_from=32"])


class Live(TorchDispatchMode):
    """Counts the bytes of tensors that exist, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        identity, size = storage._cdata, storage.nbytes()
        if identity not in self.known:
            self.known.add(identity)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, identity, size)

    def _drop(self, identity: int, size: int) -> None:
        self.known.discard(identity)
        self.now -= size


def peak(name: str, first: int | None) -> int:
    """Most bytes of an update at 64 x 64 beside the weights."""
    settings = ["model.width_base=256", "model.width_max=16", "model.latent_dim=16"]
    config = configure("celeba128", [*settings, f"training.checkpoint_activations_from={first}"])
    networks = Networks(config)
    networks.grow_to(64, 0.5)
    step = TrainingStep(config, networks, plain_engines(networks))
    batch = [MicroBatch(torch.zeros(8, 3, 64, 64), Rows(0, 0, 8, 0, 8))]
    with Live() as live:
        step.update(getattr(step, name), batch, 0)
    return live.peak


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_less_is_kept(name: str) -> None:
    kept, made = peak(name, None), peak(name, 32)
    assert kept > 10_000_000
    assert made < 0.6 * kept
