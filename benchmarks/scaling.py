"""Scaling efficiency of data-parallel ranks on this machine, one thread each.

``python -m benchmarks.scaling [--ranks 2] [--batch 8] [--repeats 3]``

Every rank holds ``batch`` images, so that N ranks do N times the work of one; a step is the whole
32 x 32 step with DeepSpeed's averaging of the gradients. Three things take turns, each in processes
of its own under torchrun: one rank, N ranks that train together, and N trainings of one rank side
by side, which share processors, caches and memory but say nothing to each other. Efficiency is the
images/s of N ranks over N times those of one, and over those of the N that do not communicate.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from dcvae.presets import configure

RANK = "rank"
STEPS = 3
CONFIG = configure("cifar10")


def main() -> None:
    """Start the trainings in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="images of a rank")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    n, images = given.ranks, CONFIG.training.discriminator_steps * given.batch
    variants = {"one rank": (1, 1), f"{n} ranks together": (1, n), f"{n} ranks apart": (n, 1)}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(given.repeats):
        for name, (trainings, ranks) in variants.items():
            seconds[name].append(seconds_a_step(trainings, ranks, given.batch))
    rates = {}
    for name, (trainings, ranks) in variants.items():
        median = statistics.median(seconds[name])
        rates[name] = trainings * ranks * images / median
        print(f"{name}: {median:.2f} s a step, {rates[name]:.2f} images/s")
    one, together, apart = rates.values()
    print(f"efficiency of {n} ranks: {together / (n * one):.0%} of {n} times one,", end=" ")
    print(f"{together / apart:.0%} of {n} that do not communicate")


def seconds_a_step(trainings: int, ranks: int, batch: int) -> float:
    """Start ``trainings`` of ``ranks`` processes each; return their mean seconds of a step."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    command = [*torchrun, "--local-addr", "127.0.0.1", "--nproc-per-node", str(ranks)]
    command += ["-m", "benchmarks.scaling", RANK, str(batch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(trainings)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("error: a rank failed; its output is above")
    lines = [line for text in outputs for line in text.splitlines()]
    found = [json.loads(line)["seconds"] for line in lines if line.startswith('{"seconds"')]
    return statistics.mean(found)


def rank_main(batch: int) -> None:
    """One rank: make steps on random images, and on rank 0 print the median seconds of one."""
    import torch

    from benchmarks.step import our_step, pictures
    from dcvae.training import engines, ranks
    from dcvae.training.randomness import Rows
    from dcvae.training.step import MicroBatch

    device = torch.device("cpu")
    ranks.start(device)
    engines.prepare(device)
    step = our_step(CONFIG, device)
    rows = Rows(0, 0, batch * ranks.world_size(), batch * ranks.rank(), batch)
    images = pictures(batch, device).contiguous(memory_format=torch.channels_last)
    batches = [[MicroBatch(images, rows)]] * CONFIG.training.discriminator_steps
    times = []
    for _ in range(STEPS + 1):  # the first one warms up
        began = time.perf_counter()
        step(batches, 0)
        times.append(time.perf_counter() - began)
    if ranks.rank() == 0:
        print(json.dumps({"seconds": statistics.median(times[1:])}), flush=True)
    ranks.finish()


if __name__ == "__main__":
    if sys.argv[1:2] == [RANK]:
        rank_main(int(sys.argv[2]))
    else:
        main()
