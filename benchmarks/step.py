"""Our training step at 32 x 32 against the plain one, interleaved, with identical updates.

``python -m benchmarks.step [--batch 64] [--repeats 3] [--threads 2] [--device cuda]``

Prints arithmetic, seconds and images per second for each update, and the ratios. On a CPU these are
seconds of CPU time, steadier than wall time on a shared machine; on a GPU, wall time between
synchronizations. If the processor has bfloat16 arithmetic, a third column is our step under
bfloat16 autocast, whose rounding differs.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

from benchmarks.plain import PlainStep
from dcvae.config import Config
from dcvae.presets import configure
from dcvae.training import engines, ranks
from dcvae.training.device import lay_out
from dcvae.training.randomness import Rows
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.updates import Networks

UPDATES = ("discriminator", "generator", "contrastive")
Updates = dict[str, Callable[[], None]]


def our_step(config: Config, device: torch.device) -> TrainingStep:
    """Our step on networks of its own, under DeepSpeed."""
    networks = Networks(config).to(device)
    built = engines.build(networks.trained, config.training)
    lay_out(networks, device, config)
    return TrainingStep(config, networks, built)


def our_updates(config: Config, batch: int, device: torch.device) -> Updates:
    """Each update of our step, ready to be called."""
    step = our_step(config, device)
    images = pictures(batch, device).contiguous(memory_format=torch.channels_last)
    micro = [MicroBatch(images, Rows(0, 0, batch, 0, batch))]
    return {
        update.name: partial(step.update, update, micro, 0)
        for update in (step.discriminator, step.generator, step.contrastive)
    }


def plain_updates(config: Config, batch: int, device: torch.device) -> Updates:
    """Each update of the plain step, ready to be called."""
    step = PlainStep(config, Networks(config).to(device))
    images, rows = pictures(batch, device), Rows(0, 0, batch, 0, batch)
    return {
        "discriminator": lambda: step.discriminator_update(images, rows),
        "generator": lambda: step.generator_update(images, rows),
        "contrastive": lambda: step.contrastive_update(images, rows),
    }


def pictures(batch: int, device: torch.device) -> torch.Tensor:
    """Images of CIFAR's shape."""
    uniform = torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return (uniform * 2 - 1).to(device)


def clock(device: torch.device) -> float:
    """Seconds, for differences: wall time on a GPU, CPU time on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware has bfloat16 arithmetic."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()  # type: ignore[no-any-return]


def count(variants: dict[str, Updates]) -> dict[str, dict]:
    """GFLOP of convolutions and matrix products by variant and update; warms up on the way."""
    found: dict = {name: {} for name in variants}
    for name, updates in variants.items():
        for update in UPDATES:
            with FlopCounterMode(display=False) as counter:
                updates[update]()
            found[name][update] = counter.get_total_flops() / 1e9
    return found


def measure(variants: dict[str, Updates], repeats: int, device: torch.device) -> dict[str, dict]:
    """Median seconds by variant and update; variants take turns."""
    seconds: dict = {name: {update: [] for update in UPDATES} for name in variants}
    for _ in range(repeats):
        for update in UPDATES:
            for name, updates in variants.items():
                began = clock(device)
                updates[update]()
                seconds[name][update].append(clock(device) - began)
    return {
        name: {update: statistics.median(times) for update, times in updates.items()}
        for name, updates in seconds.items()
    }


def show(unit: str, found: dict[str, dict], d_steps: int) -> None:
    """Print a table; an iteration is ``d_steps`` updates of D and one of each other."""
    print(f"{unit:<16}" + "".join(f"{name:>16}" for name in found) + "    ratios")
    for updates in found.values():
        updates["iteration"] = (
            d_steps * updates["discriminator"] + updates["generator"] + updates["contrastive"]
        )
    for update in (*UPDATES, "iteration"):
        row = [found[name][update] for name in found]
        ratios = ", ".join(f"{row[0] / value:.2f}x" for value in row[1:])
        print(f"{update:<16}" + "".join(f"{value:>16.3f}" for value in row) + f"    {ratios}")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16, help="images of an update of D")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    ranks.start(device)
    engines.prepare(device)
    config = configure("cifar10")
    variants = {
        "plain": plain_updates(config, given.batch, device),
        "ours": our_updates(config, given.batch, device),
    }
    if has_bfloat16(device):
        low = configure("cifar10", ["training.precision=bfloat16"])
        variants["ours bfloat16"] = our_updates(low, given.batch, device)
    else:
        print("bfloat16 is left out: this processor has no arithmetic for it")
    where = f"{given.threads} thread(s)" if device.type == "cpu" else torch.cuda.get_device_name()
    print(f"batch {given.batch}, {where}, median of {given.repeats}")
    d_steps = config.training.discriminator_steps
    show("GFLOP", count(variants), d_steps)
    seconds = measure(variants, given.repeats, device)
    show("seconds", seconds, d_steps)
    for name, updates in seconds.items():
        print(f"{name}: {d_steps * given.batch / updates['iteration']:.2f} images per second")


if __name__ == "__main__":
    main()
