"""What one GPU takes for a training step: time in each precision, memory, and where the time goes.

``python -m benchmarks.gpu [PRESET ...] [--out build/gpu] [--steps 10]`` (``make bench-gpu``)

Steps are made on random images of a preset's final resolution and batch size, with full queues of
negatives, as the training loop makes them: noise drawn on the host, CUDA graphs, images laid out
for the device. Prints three tables in Markdown, with the card's name, and writes them to ``--out``:

- steps: milliseconds per precision, images per second, and peak memory. Batches that do not fit
  are halved until they do;
- time: what the device spends a step on, by kernel and by direction of copies, and how busy it is.
  ``timeline-<preset>.json`` beside it opens in chrome://tracing or Perfetto;
- memory: peak memory of a 512 x 512 step by batch size, with and without computing blocks again.

``--device cpu --tiny`` makes the same tables for narrow networks on a processor, in some minutes:
to see that everything works before a GPU is paid for. Its figures mean nothing.
"""

import argparse
import gc
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

from torch.profiler import ProfilerActivity, profile

from dcvae.config import Config
from dcvae.errors import UserError
from dcvae.presets import PRESETS, configure
from dcvae.training import engines, ranks
from dcvae.training.device import graphs, lay_out, layout, prepare
from dcvae.training.graphs import WARM_UP
from dcvae.training.inputs import to_model
from dcvae.training.randomness import Rows
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.updates import Networks

PRECISIONS = ("float32", "tf32", "bfloat16")
TIMED = ("cifar10", "celebahq512")
"""Presets that are profiled."""
LARGE = "celebahq512"
BATCHES = (4, 8, 16, 32)
"""Images of a 512 x 512 step."""
COMPUTED_AGAIN_FROM = 64
"""Resolution from which blocks are computed again for the gradient."""
TINY = {
    "autogan": ["model.decoder_width=8", "model.encoder_width=8"],
    "progan": ["model.width_base=512", "model.width_max=4"],
}
ROWS = 15
"""Rows of the table of kernels."""


class Workload:
    """A preset's steps at its final resolution, on images that are on the host."""

    def __init__(self, config: Config, batch: int, device: torch.device) -> None:
        prepare(device, config)
        self.config, self.batch, self.device, self.images = config, batch, device, 0
        networks = Networks(config).to(device)
        built = engines.build(networks.trained, config.training)
        lay_out(networks, device, config)
        self.step = TrainingStep(config, networks, built, graphs(device, config))
        side = config.training.phases[-1].resolution
        networks.grow_to(side, 1.0)
        for name in networks.queues:
            keys = torch.randn_like(networks.negatives(name).new_empty(*_shape(networks, name)))
            networks.push(name, torch.nn.functional.normalize(keys, dim=1))
        shape = (batch, config.model.channels, side, side)
        pictures = torch.randint(0, 256, shape, dtype=torch.uint8)
        self.pictures = pictures.pin_memory() if device.type == "cuda" else pictures

    def __call__(self) -> None:
        """Make one step."""
        batches = []
        for _ in range(self.config.batches_per_step):
            rows = Rows(0, self.images, self.batch, 0, self.batch)
            flips = rows.uniform("mirror") if self.config.training.mirror else None
            x = to_model(self.pictures, self.device, flips, 1.0, layout(self.device, self.config))
            batches.append([MicroBatch(x, rows)])
            self.images += self.batch
        self.step(batches, self.images)


def _shape(networks: Networks, name: str) -> tuple[int, int]:
    queue = networks.queues[name]
    return queue.keys.shape  # type: ignore[return-value, union-attr]


def configured(preset: str, precision: str, tiny: bool, *settings: str) -> Config:
    """The preset in a precision, with narrow networks if ``tiny``."""
    narrow = TINY[configure(preset).model.backbone] if tiny else []
    return configure(preset, [f"training.precision={precision}", *narrow, *settings])


def fitted(config: Config, batch: int, device: torch.device) -> tuple[Workload, int]:
    """A warm workload of ``batch`` images, or of the half, the quarter, … that fits the memory."""
    while True:
        free(device)
        with suppress(torch.OutOfMemoryError):
            work = Workload(config, batch, device)
            # After these every update is a graph; a processor records none.
            for _ in range(WARM_UP + 2 if device.type == "cuda" else 1):
                work()
            synchronize(device)
            return work, batch
        if batch == 1:
            raise SystemExit(f"error: no image of {config.preset} fits the memory")
        batch //= 2


def free(device: torch.device) -> None:
    """Release the memory of the last workload, and reset the peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def synchronize(device: torch.device) -> None:
    """Wait until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device) -> str:
    """Peak memory of tensors since :func:`free`, in GiB; unknown on a CPU."""
    if device.type != "cuda":
        return "–"
    return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f}"


def seconds_of(work: Workload, steps: int) -> float:
    """Mean seconds of a step."""
    synchronize(work.device)
    began = time.perf_counter()
    for _ in range(steps):
        work()
    synchronize(work.device)
    return (time.perf_counter() - began) / steps


def step_table(presets: list[str], device: torch.device, steps: int, tiny: bool) -> Iterator[str]:
    """Time and memory of every preset's step, by precision."""
    columns = "".join(f" {name}, ms | images/s | GiB |" for name in PRECISIONS)
    yield f"| preset | batch |{columns}"
    yield "| --- |" + " ---: |" * (1 + 3 * len(PRECISIONS))
    for preset in presets:
        cells, batch = "", 2 if tiny else configure(preset).training.phases[-1].batch_size
        for precision in PRECISIONS:
            try:
                config = configured(preset, precision, tiny)
                work, batch = fitted(config, batch, device)
            except UserError:  # this device has no such arithmetic
                cells += " – | – | – |"
                continue
            seconds = seconds_of(work, steps)
            rate = config.batches_per_step * batch / seconds
            cells += f" {seconds * 1e3:.1f} | {rate:.0f} | {peak(device)} |"
            del work
        yield f"| {preset} | {batch} |{cells}"


def time_table(preset: str, device: torch.device, tiny: bool, out: Path) -> Iterator[str]:
    """Where the time of a bfloat16 step goes."""
    config = configured(preset, "bfloat16", tiny)
    batch = 2 if tiny else config.training.phases[-1].batch_size
    work, batch = fitted(config, batch, device)
    on_gpu = device.type == "cuda"
    seconds = seconds_of(work, 3)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=kinds) as found:
        work()
        synchronize(device)
    found.export_chrome_trace(str(out / f"timeline-{preset}.json"))
    own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    rows = sorted(found.key_averages(), key=lambda row: -float(getattr(row, own)))
    total = sum(float(getattr(row, own)) for row in rows) / 1e6
    yield f"{preset}, batch {batch}, bfloat16: {seconds * 1e3:.1f} ms a step,"
    yield f"of which the device is busy for {total * 1e3:.1f} ms when profiled:"
    yield ""
    yield "| kernel or copy | calls | ms | share |"
    yield "| --- | ---: | ---: | ---: |"
    copies = [row for row in rows if "memcpy" in row.key.lower()]
    for row in [*rows[:ROWS], *[row for row in copies if row not in rows[:ROWS]]]:
        spent = float(getattr(row, own)) / 1e6
        name = row.key[:60].replace("|", "\\|")
        yield f"| {name} | {row.count} | {spent * 1e3:.2f} | {spent / total:.1%} |"


def memory_table(device: torch.device, tiny: bool) -> Iterator[str]:
    """Peak memory of a 512 x 512 step by batch size."""
    again = f"training.checkpoint_activations_from={COMPUTED_AGAIN_FROM}"
    columns = [(p, s) for p in ("float32", "bfloat16") for s in ((), (again,))]
    names = (f" {p}{', computed again, GiB' if s else ', GiB'} |" for p, s in columns)
    yield "| images |" + "".join(names)
    yield "| ---: |" + " ---: |" * len(columns)
    for batch in (2,) if tiny else BATCHES:
        cells = ""
        for precision, settings in columns:
            settings = (*settings, "training.cuda_graphs=false")
            free(device)
            try:
                work = Workload(configured(LARGE, precision, tiny, *settings), batch, device)
                work()
                synchronize(device)
                cells += f" {peak(device)} |"
                del work
            except torch.OutOfMemoryError:
                cells += " does not fit |"
        yield f"| {batch} |{cells}"


def title(device: torch.device) -> str:
    """The card, and what it ran with."""
    if device.type != "cuda":
        return f"A processor, narrow networks or not: no figures. PyTorch {torch.__version__}"
    name = torch.cuda.get_device_name(device)
    cudnn = torch.backends.cudnn.version()
    return f"{name}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}"


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("presets", nargs="*", default=list(PRESETS), metavar="PRESET")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--out", type=Path, default=Path("build/gpu"))
    parser.add_argument("--tiny", action="store_true", help="narrow networks, 2 images")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is to be seen here; --device cpu --tiny tries it all without one")
    device = torch.device(given.device)
    ranks.start(device)
    engines.prepare(device)
    given.out.mkdir(parents=True, exist_ok=True)
    timed = [preset for preset in TIMED if preset in given.presets] or given.presets[:1]
    with (given.out / "tables.md").open("w") as file:

        def show(lines: Iterator[str]) -> None:
            for line in lines:
                print(line, flush=True)
                file.write(line + "\n")
                file.flush()

        show(iter([title(device), ""]))
        show(step_table(given.presets, device, given.steps, given.tiny))
        for preset in timed:
            show(iter([""]))
            show(time_table(preset, device, given.tiny, given.out))
        if LARGE in given.presets:
            show(iter([""]))
            show(memory_table(device, given.tiny))


if __name__ == "__main__":
    main()
