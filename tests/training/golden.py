"""The golden loss curve: every term after each step of two runs that take seconds.

``python -m tests.training.golden`` writes the file anew. Do it only for a change that is meant to
move the numbers, and say so, with the reason, in the commit and the changelog.

Exact here means: equal to nine significant digits, computed in float64 from the first random
number on. Bits would be too much to ask: processors with other vector units add in another order,
and a faster step with the same mathematics may do so too. In float64 that is some 1e-16 at each
sum, and 3e-14 over these steps (ATen and MKL with and without their vector units). An error in the
method moves the first digits.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcvae.config import Config, parse_config
from dcvae.models.layers import downsample, upsample
from dcvae.training.inputs import faded_in
from dcvae.training.randomness import Rows
from dcvae.training.schedule import Stage, steps
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.updates import Networks
from tests.training.plain_engine import plain_engines

FILE = Path(__file__).with_name("golden.jsonl")
DIGITS = 1e-9
Record = dict[str, float | str]

_OBJECTIVE = {"method": "dcvae", "negatives": 24, "key_momentum": 0.9, "kl_weight": 1e-3}
_TRAINING = {"seed": 1, "average_decay": 0.9, "adam_betas": [0.0, 0.99]}
RUNS: dict[str, dict[str, Any]] = {
    # Two phases with growth and fading between them; patches from the middle on; queues that wrap.
    "progan": {
        "preset": "golden",
        "model": {
            **{"backbone": "progan", "resolution": 8, "channels": 1, "latent_dim": 8},
            **{"width_base": 32, "width_max": 8, "embedding_dim": 4},
        },
        "objective": {**_OBJECTIVE, "gan_loss": "wgan_gp", "local_patches_after": 48},
        "training": {
            **_TRAINING,
            "learning_rate": 1e-3,
            "phases": [
                {"resolution": 4, "images": 24, "batch_size": 8},
                {"resolution": 8, "images": 32, "fade_images": 24, "batch_size": 8},
            ],
        },
    },
    # Several discriminator steps to one of the others, and more samples than images.
    "autogan": {
        "preset": "golden",
        "model": {
            **{"backbone": "autogan", "resolution": 32, "channels": 1, "latent_dim": 8},
            **{"decoder_width": 8, "encoder_width": 8, "embedding_dim": 4},
        },
        "objective": {**_OBJECTIVE, "gan_loss": "hinge"},
        "training": {
            **_TRAINING,
            "learning_rate": 2e-4,
            "discriminator_steps": 2,
            "generator_batch_ratio": 2,
            "phases": [{"resolution": 32, "images": 64, "batch_size": 8}],
        },
    },
}


def curve() -> list[Record]:
    """The losses of all runs, one record per step."""
    with _in_float64():
        return [record for name, run in RUNS.items() for record in _losses(name, run)]


def _losses(name: str, run: dict[str, Any]) -> Iterator[Record]:
    config = parse_config(run)
    networks = Networks(config)
    step = TrainingStep(config, networks, plain_engines(networks))
    for stage, batches in steps(config):
        step.enter(stage)
        terms = step([[_batch(config, first, stage)] for first in batches], batches.start)
        rounded = {term: float(f"{value:.12g}") for term, value in terms.items()}
        place = {"images": batches.stop, "resolution": stage.phase.resolution, "fade": stage.fade}
        yield {"run": name, **place, **rounded}


def _batch(config: Config, first: int, stage: Stage) -> MicroBatch:
    resolution, size = stage.phase.resolution, stage.phase.batch_size
    x = _digits()[first : first + size]
    while x.shape[-1] > resolution:
        x = downsample(x)
    while x.shape[-1] < resolution:
        x = upsample(x)
    return MicroBatch(faded_in(x, stage.fade), Rows(config.training.seed, first, size, 0, size))


def _digits() -> Tensor:
    """scikit-learn's digits [N, 1, 8, 8] in [-0.9, 0.92].

    Never 0: there a layer without bias meets the kink of its rectifier, and rounding would decide.
    """
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().images).unsqueeze(1) * 0.11375 - 0.9


@contextmanager
def _in_float64() -> Iterator[None]:
    """All weights, images and random numbers, on one thread."""
    before, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        torch.set_num_threads(threads)


def first_difference(expected: list[Record], found: list[Record]) -> str | None:
    """Where the curves part, as a sentence; None where they do not."""
    for number, was, now in zip(count(1), expected, found, strict=False):
        if was.keys() != now.keys():
            return f"record {number} has the terms {sorted(now)} and had {sorted(was)}"
        for name, value in was.items():
            if not _equal(value, now[name]):
                place = f"after {was['images']} images of {was['run']}"
                return f"{place}, {name} is {now[name]!r} and was {value!r}"
    if len(expected) != len(found):
        return f"there are {len(found)} records and were {len(expected)}"
    return None


def _equal(was: float | str, now: float | str) -> bool:
    if isinstance(was, str) or isinstance(now, str):
        return was == now
    return math.isclose(was, now, rel_tol=DIGITS, abs_tol=DIGITS / 1000)


def read() -> list[Record]:
    """The curve that the repository holds."""
    return [json.loads(line) for line in FILE.read_text().splitlines()]


def main() -> None:
    found = curve()
    difference = first_difference(read(), found) if FILE.exists() else "there was no curve"
    if difference is None:
        print("nothing has moved")
        return
    FILE.write_text("".join(json.dumps(record) + "\n" for record in found))
    print(f"{FILE.name} is written anew: {difference}")


if __name__ == "__main__":
    main()
