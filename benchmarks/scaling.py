"""Scaling efficiency of data-parallel ranks on this machine, one thread each.

``python -m benchmarks.scaling [--ranks 2] [--batch 8] [--repeats 3]``

Every rank holds ``batch`` images, so that N ranks do N times the work of one. Trainings with one
rank and with N take turns, each in processes of its own under torchrun; a step is the whole 32 x 32
step with DeepSpeed's averaging of the gradients. Efficiency is images/s of N ranks over N times
the images/s of one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

RANK = "rank"
STEPS = 3
DISCRIMINATOR_PHASES = 5
"""Global batches of a step of the preset cifar10."""


def main() -> None:
    """Start the trainings in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="images of a rank")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], given.ranks: []}
    for _ in range(given.repeats):
        for ranks, times in seconds.items():
            times.append(seconds_a_step(ranks, given.batch))
    rates = {}
    for ranks, times in seconds.items():
        images = 5 * given.batch * ranks
        rates[ranks] = images / statistics.median(times)
        print(
            f"{ranks} rank(s): {statistics.median(times):.2f} s a step, {rates[ranks]:.2f} images/s"
        )
    efficiency = rates[given.ranks] / (given.ranks * rates[1])
    print(f"efficiency of {given.ranks} ranks: {efficiency:.0%}")


def seconds_a_step(ranks: int, batch: int) -> float:
    """Start ``ranks`` processes under torchrun and return rank 0's median seconds of a step."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    command = [*torchrun, "--local-addr", "127.0.0.1", "--nproc-per-node", str(ranks)]
    command += ["-m", "benchmarks.scaling", RANK, str(batch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    (line,) = (line for line in output.stdout.splitlines() if line.startswith('{"seconds"'))
    return float(json.loads(line)["seconds"])


def rank_main(batch: int) -> None:
    """One rank: make steps on random images, and on rank 0 print the median seconds of one."""
    import torch

    from benchmarks.step import pictures
    from dcvae.presets import resolve
    from dcvae.training import engines, ranks
    from dcvae.training.networks import Networks
    from dcvae.training.randomness import Rows
    from dcvae.training.step import MicroBatch, Step

    device = torch.device("cpu")
    ranks.start(device)
    engines.prepare(device)
    config = resolve("cifar10")
    networks = Networks(config)
    parts = (networks.autoencoder, networks.dual_encoder)
    step = Step(config, networks, *(engines.Engine(part, config.training) for part in parts))
    rows = Rows(0, 0, batch * ranks.world_size(), batch * ranks.rank(), batch)
    images = pictures(batch, device).contiguous(memory_format=torch.channels_last)
    batches = [[MicroBatch(images, rows)]] * DISCRIMINATOR_PHASES
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
