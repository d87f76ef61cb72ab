"""Our training step at 32 x 32 against the plain one, interleaved, with identical updates.

``python -m benchmarks.step [--batch 64] [--repeats 3] [--threads 2]``

Prints seconds of processor time and images per second for each phase, and the ratio of the two;
the processor's time, because it is steadier than the clock on a machine that is shared. The
third column is our step under bfloat16 autocast, whose rounding differs.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch

os.environ.setdefault("DS_ACCELERATOR", "cpu")

from benchmarks.plain import PlainStep
from dcvae.config import Config
from dcvae.presets import resolve
from dcvae.training import engines, ranks
from dcvae.training.networks import Networks
from dcvae.training.randomness import Rows
from dcvae.training.step import MicroBatch, Step

PHASES = ("discriminator", "generator", "contrastive")


def our_phases(config: Config, batch: int) -> dict[str, Callable[[], None]]:
    """Each phase of our step, ready to be called."""
    networks = Networks(config)
    autoencoder = engines.Engine(networks.autoencoder, config.training)
    dual_encoder = engines.Engine(networks.dual_encoder, config.training)
    step = Step(config, networks, autoencoder, dual_encoder)
    images = pictures(batch).contiguous(memory_format=torch.channels_last)
    micro = [MicroBatch(images, Rows(0, 0, batch, 0, batch))]
    return {
        "discriminator": lambda: step._discriminator_phase(micro),
        "generator": lambda: step._generator_phase(micro),
        "contrastive": lambda: step._contrastive_phase(micro, 0),
    }


def plain_phases(config: Config, batch: int) -> dict[str, Callable[[], None]]:
    """Each phase of the plain step, ready to be called."""
    step = PlainStep(config, Networks(config))
    images, rows = pictures(batch), Rows(0, 0, batch, 0, batch)
    return {
        "discriminator": lambda: step.discriminator_phase(images, rows),
        "generator": lambda: step.generator_phase(images, rows),
        "contrastive": lambda: step.contrastive_phase(images, rows),
    }


def pictures(batch: int) -> torch.Tensor:
    """Images like CIFAR's in shape."""
    return torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def measure(variants: dict[str, dict[str, Callable[[], None]]], repeats: int) -> dict[str, dict]:
    """Median processor seconds by variant and phase; variants take turns."""
    seconds: dict = {name: {phase: [] for phase in PHASES} for name in variants}
    for repeat in range(repeats + 1):
        for phase in PHASES:
            for name, phases in variants.items():
                began = time.process_time()
                phases[phase]()
                if repeat:  # the first round warms up
                    seconds[name][phase].append(time.process_time() - began)
    return {
        name: {phase: statistics.median(times) for phase, times in phases.items()}
        for name, phases in seconds.items()
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16, help="images of a discriminator phase")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    ranks.start(torch.device("cpu"))
    engines.prepare(torch.device("cpu"))
    config = resolve("cifar10")
    low = resolve("cifar10", ["training.precision=bfloat16"])
    variants = {
        "plain": plain_phases(config, given.batch),
        "ours": our_phases(config, given.batch),
        "ours bfloat16": our_phases(low, given.batch),
    }
    found = measure(variants, given.repeats)
    print(f"batch {given.batch}, {given.threads} thread(s), median of {given.repeats}")
    print(f"{'phase':<16}" + "".join(f"{name:>16} s" for name in found) + "    ratios")
    d_steps = config.training.discriminator_steps
    for phases in found.values():
        phases["iteration"] = (
            d_steps * phases["discriminator"] + phases["generator"] + phases["contrastive"]
        )
    for phase in (*PHASES, "iteration"):
        row = [found[name][phase] for name in found]
        ratios = ", ".join(f"{row[0] / seconds:.2f}x" for seconds in row[1:])
        print(f"{phase:<16}" + "".join(f"{seconds:>18.2f}" for seconds in row) + f"    {ratios}")
    for name, phases in found.items():
        rate = d_steps * given.batch / phases["iteration"]
        print(f"{name}: {rate:.2f} images a second of processor time")


if __name__ == "__main__":
    main()
