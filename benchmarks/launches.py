"""Counts, without an accelerator, what a training step asks of one: kernels, waits and copies.

``python -m benchmarks.launches [PRESET ...] [--set section.key=value]``

Networks and images are on PyTorch's ``meta`` device, where every operation is dispatched but none
is computed, so counting a 512 x 512 step takes seconds on a laptop. Counted is one iteration of one
rank at the preset's final resolution, from the bytes of the images to the losses of a log line, as
if every iteration were logged:

- kernels: operators dispatched to the device that compute or move something, so not views and
  allocations. One operator may be two or three kernels (the gradient of a convolution). Fused Adam
  counts as its two calls per part; casts by autocast are not seen.
- waits: where the host stops until the device is done: a value is read (``item``, ``bool``,
  ``tolist``), a shape depends on values (``nonzero``), or data is copied to the host
  by a copy that is waited for.
- copies: copies between host and device.
"""

import argparse
import collections
import os
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dcvae.presets import PRESETS, configure
from dcvae.training.inputs import to_model
from dcvae.training.randomness import Rows
from dcvae.training.schedule import Stage
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.training.telemetry import Telemetry
from dcvae.updates import Networks

DEVICE = torch.device("meta")
NOT_KERNELS = {
    *("alias", "as_strided", "detach", "diagonal", "expand", "permute", "select", "slice", "split"),
    *("split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view"),
    *("_unsafe_view", "_reshape_alias", "lift_fresh", "set_"),
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
}
LOOKS = {"_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "_unique2"}


class Counter(TorchDispatchMode):
    """Counts what is dispatched to the ``meta`` device while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: collections.Counter[str] = collections.Counter()
        self.waits: collections.Counter[str] = collections.Counter()
        self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one operator, and stand in for it where it returns values."""
        kwargs = kwargs or {}
        name = func.name().removeprefix("aten::").partition(".")[0]
        given = places((args, kwargs))
        if DEVICE.type in given and name in LOOKS:
            self.waits[name] += 1
            return looked_at(name, args[0])
        target = kwargs.get("device")
        if name == "copy_" and args[0].device != DEVICE and DEVICE.type in given:
            self.copies += 1
            if not (kwargs.get("non_blocking") or args[2:3] == (True,)):
                self.waits["to the host"] += 1
            return args[0]
        if name == "_to_copy" and DEVICE.type in given and target not in (None, DEVICE):
            self.waits["to the host"] += 1
            self.copies += 1
            return torch.zeros(args[0].shape, device=target, dtype=args[0].dtype)
        result = func(*args, **kwargs)
        touched = given | places(result)
        if DEVICE.type in touched and name not in NOT_KERNELS:
            crossing = name in ("copy_", "_to_copy") and "cpu" in touched
            self.copies += crossing
            if not crossing:
                self.kernels[name] += 1
        return result


def places(tree: Any) -> set[str]:
    """Device types of all tensors in ``tree``."""
    return {leaf.device.type for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}


def looked_at(name: str, value: Tensor) -> Any:
    """A stand-in for a value that was never computed."""
    if name == "_local_scalar_dense":
        return 0.0 if value.is_floating_point() else 0
    if name in ("equal", "is_nonzero"):
        return True
    return torch.zeros((1, value.dim()), dtype=torch.long, device=DEVICE)


class CountedEngine:
    """An engine whose fused Adam, unsupported on ``meta``, counts as two operators per part."""

    def __init__(self, network: Any, counter: Counter) -> None:
        self.network, self.counter = network, counter
        self.adam = torch.optim.Adam(network.parameters())

    def __call__(self, *inputs: Any) -> Any:
        """The forward pass."""
        return self.network(*inputs)

    def expect(self, active: set[str]) -> None:
        """One rank reduces nothing."""

    def backward(self, loss: Tensor) -> None:
        """The gradients."""
        loss.backward()

    def step(self, active: set[str]) -> None:
        """Count the step, and drop the gradients."""
        self.counter.kernels["_fused_adam_"] += 2 * len(active)
        self.adam.zero_grad()

    def count(self, active: set[str]) -> None:
        """Do nothing: the number of steps is not needed."""


def iteration(preset: str, settings: list[str]) -> Counter:
    """Count one iteration of ``preset`` at its final resolution, with full queues."""
    config = configure(preset, settings)
    counter = Counter()
    with DEVICE:
        networks = Networks(config)
    engines: Any = {name: CountedEngine(n, counter) for name, n in networks.trained.items()}
    step = TrainingStep(config, networks, engines)
    phase = config.training.phases[-1]
    networks.grow_to(phase.resolution, 1.0)
    for layer in networks.queues:
        queue: Any = networks.queues[layer]
        queue.push(torch.empty(queue.keys.shape, device=DEVICE))
    size, sides = phase.batch_size, (config.model.channels, phase.resolution, phase.resolution)
    rows = Rows(config.training.seed, 0, size, 0, size)
    flips = rows.uniform("mirror") if config.training.mirror else None
    pictures = torch.zeros(size, *sides, dtype=torch.uint8)

    count = config.batches_per_step
    stage, telemetry = Stage(0, phase, 1.0, 0), Telemetry(config.training.total_images, None)

    def make() -> None:
        batches = [[MicroBatch(to_model(pictures, DEVICE, flips, 1.0), rows)] for _ in range(count)]
        telemetry.step(count * size, step(batches, 0), 0.0, 0.0)
        telemetry.request(stage)

    for _ in range(2):
        for counts in (counter.kernels, counter.waits):
            counts.clear()  # the first iteration warms up
        counter.copies, telemetry.pending = 0, None  # on meta there are no values to read
        with counter:
            make()
    return counter


def main() -> None:
    """Count and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("presets", nargs="*", default=list(PRESETS), metavar="PRESET")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--operators", type=int, default=0, help="show this many of the commonest")
    given = parser.parse_args()
    print(f"{'preset':<18}{'kernels':>9}{'waits':>7}{'copies':>8}")
    for preset in given.presets:
        found = iteration(preset, given.set)
        waits = sum(found.waits.values())
        print(f"{preset:<18}{sum(found.kernels.values()):>9,}{waits:>7}{found.copies:>8}")
        for name, count in found.kernels.most_common(given.operators):
            print(f"    {name:<30}{count:>6,}")


if __name__ == "__main__":
    main()
