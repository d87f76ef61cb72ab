"""Scaling efficiency of data-parallel ranks on this machine, one thread each.

``python -m benchmarks.scaling [--ranks 2] [--batch 8] [--repeats 3]
[--latency SECONDS --bandwidth BYTES_A_SECOND --seconds A_STEP]``

Every rank has ``batch`` images, so that N ranks do N times the work of one; a step is the whole
32 x 32 step with DeepSpeed's averaging of gradients. Three variants take turns, each in processes
of its own under torchrun: one rank, N ranks that train together, and N trainings of one rank side
by side, which share processors, caches and memory but do not communicate. Efficiency is the
images/s of N ranks over N times those of one, and over those of the N that do not communicate.

Then follows a model of more ranks: what an iteration sends (gradients once per network and update,
statistics of batch norm, keys), at the latency and bandwidth that all-reduces were measured to have
here, or those of ``--latency`` and ``--bandwidth``. A ring passes 2 (N - 1) / N of the bytes in
2 (N - 1) hops; in the worst case, which is assumed, no communication overlaps with computation.
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
LINEAR = 0.9
STEPS = 3
CONFIG = configure("cifar10")


def main() -> None:
    """Start the trainings in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="images per rank")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--latency", type=float, help="seconds per hop (measured)")
    parser.add_argument("--bandwidth", type=float, help="bytes per second (measured)")
    parser.add_argument("--seconds", type=float, help="of a step of one rank (measured)")
    given = parser.parse_args()
    n, images = given.ranks, CONFIG.training.discriminator_steps * given.batch
    variants = {"one rank": (1, 1), f"{n} ranks together": (1, n), f"{n} ranks apart": (n, 1)}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    links: list[dict[str, float]] = []
    for _ in range(given.repeats):
        for name, (trainings, ranks) in variants.items():
            found = measured(trainings, ranks, given.batch)
            seconds[name].append(statistics.mean(each["seconds"] for each in found))
            links += [each for each in found if ranks > 1]
    rates = {}
    for name, (trainings, ranks) in variants.items():
        median = statistics.median(seconds[name])
        rates[name] = trainings * ranks * images / median
        print(f"{name}: {median:.2f} s a step, {rates[name]:.2f} images/s")
    one, together, apart = rates.values()
    print(f"efficiency of {n} ranks: {together / (n * one):.0%} of {n} times one,", end=" ")
    print(f"{together / apart:.0%} of {n} that do not communicate")
    latency = given.latency or statistics.median(link["latency"] for link in links)
    bandwidth = given.bandwidth or statistics.median(link["bandwidth"] for link in links)
    model(given.seconds or statistics.median(seconds["one rank"]), latency, bandwidth)


def messages() -> list[int]:
    """Sizes in bytes of all all-reduces of an iteration at 32 x 32, in float32."""
    import torch

    from dcvae.updates import Networks

    with torch.device("meta"):
        networks = Networks(CONFIG)
    encoder, decoder, dual = (
        4 * sum(p.numel() for p in network.parameters())
        for network in (
            networks.autoencoder.encoder, networks.autoencoder.decoder, networks.discriminator
        )
    )  # fmt: skip
    d_steps, width = CONFIG.training.discriminator_steps, CONFIG.model.decoder_width
    statistics_of = {"forward of D's and G's": (d_steps + 1) * [2 * 2 * width * 4]}
    statistics_of["backward of G's, both of C's"] = [2 * 2 * width * 4, *2 * [2 * width * 4]]
    return [
        *(d_steps * [dual]), *(2 * [decoder, encoder]), dual,
        *(size for sizes in statistics_of.values() for size in sizes),
        CONFIG.training.phases[0].batch_size * 2 * CONFIG.model.embedding_dim * 4,
    ]  # fmt: skip


def model(seconds: float, latency: float, bandwidth: float) -> None:
    """Print what to expect of more ranks, and where scaling stops being linear."""
    sent = messages()
    print(
        f"an iteration sends {len(sent)} messages, {sum(sent) / 2**20:.0f} MiB; "
        f"a hop takes {latency * 1e6:.0f} us, and {bandwidth / 1e9:.2f} GB/s pass"
    )
    limit = None
    for exponent in range(1, 11):
        ranks = 2**exponent
        hops, share = 2 * (ranks - 1), 2 * (ranks - 1) / ranks
        talking = len(sent) * hops * latency + share * sum(sent) / bandwidth
        efficiency = seconds / (seconds + talking)
        if ranks in (2, 8, 64):
            print(f"{ranks} ranks: {talking * 1e3:.0f} ms of talking, {efficiency:.1%} of linear")
        if efficiency < LINEAR and limit is None:
            limit = ranks
    print(f"below {LINEAR:.0%} of linear from {limit or 'more than 1024'} ranks on")


def measured(trainings: int, ranks: int, batch: int) -> list[dict[str, float]]:
    """Start ``trainings`` of ``ranks`` processes each; return what each training measured."""
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
    return [json.loads(line) for line in lines if line.startswith('{"seconds"')]


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
    for _ in range(STEPS + 1):  # the first step warms up
        began = time.perf_counter()
        step(batches, 0)
        times.append(time.perf_counter() - began)
    link = {name: all_reduce_seconds(n) for name, n in (("latency", 1), ("large", 2**20))}
    link["bandwidth"] = 4 * 2**20 / max(link["large"] - link["latency"], 1e-9)
    if ranks.rank() == 0:
        found = {"seconds": statistics.median(times[1:])}
        print(json.dumps(found | link), flush=True)
    ranks.finish()


def all_reduce_seconds(count: int) -> float:
    """Median seconds of an all-reduce of ``count`` float32 numbers."""
    import torch
    import torch.distributed as dist

    numbers, times = torch.zeros(count), []
    for _ in range(20):
        began = time.perf_counter()
        dist.all_reduce(numbers)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    if sys.argv[1:2] == [RANK]:
        rank_main(int(sys.argv[2]))
    else:
        main()
