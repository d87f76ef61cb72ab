"""How a model developed, according to its run folder, if the snapshot is still in one."""

import io
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dcvae.errors import UserError
from dcvae.evaluation.distances import pixel_distance
from dcvae.pictures import png
from dcvae.report.charts import Curve
from dcvae.run_folder import (
    read_metrics,
    read_sheet,
    run_of,
    sheet_counts,
    snapshot_counts,
    snapshot_place,
)
from dcvae.snapshot import load_snapshot
from dcvae.storage import Storage

STAGES = 6
_SPEED = ("images_per_second",)
_NOT_CURVES = ("images", "resolution", "fade", "data_wait_seconds")
_NAMES = {
    "kl": "KL divergence",
    "kl_contrastive": "KL divergence, contrastive update",
    "gan_discriminator": "GAN, discriminator",
    "gan_generator": "GAN, encoder and decoder",
    "instance_low": "Instance, lower layer",
    "instance_high": "Instance, higher layer",
    "accuracy_low": "Accuracy, lower layer",
    "accuracy_high": "Accuracy, higher layer",
}


@dataclass(frozen=True)
class Milestone:
    """Samples, and the number of images shown before them."""

    images: int
    resolution: int | None
    png: bytes


@dataclass(frozen=True)
class Development:
    """Curves by group, and samples from start to end; empty without a run folder."""

    groups: dict[str, list[Curve]] = field(default_factory=dict)
    steps: list[Milestone] = field(default_factory=list)


def development(
    snapshot: Storage, images: int, inputs: Tensor, device: torch.device
) -> Development:
    """What the run of a snapshot did up to ``images`` images.

    Args:
        inputs: held-out images, float in [-1, 1] ``(N, C, r, r)``, on which the run's snapshots are
            measured again.
    """
    run = run_of(snapshot)
    if run is None:
        return Development()
    lines = [line for line in read_metrics(run) if line["images"] <= images]
    marks = _marks(lines)
    groups = _groups(lines, marks)
    measured = _measured(run, images, inputs, device, marks)
    if measured:
        groups = {"Measures": [measured], **groups}
    return Development(groups, _steps(run, images, lines))


def _marks(lines: list[dict[str, Any]]) -> list[tuple[float, str]]:
    """Where each resolution begins; empty if there is only one."""
    begins: dict[int, float] = {}
    for line in lines:
        begins.setdefault(int(line["resolution"]), line["images"])
    return [(at, f"{side} px") for side, at in begins.items()] if len(begins) > 1 else []


def _groups(lines: list[dict[str, Any]], marks: list[tuple[float, str]]) -> dict[str, list[Curve]]:
    """The logged quantities as curves: losses, accuracies, speed."""
    names = dict.fromkeys(name for line in lines for name in line if name not in _NOT_CURVES)
    groups: dict[str, list[Curve]] = {"Losses": [], "Accuracy": [], "Speed": []}
    for name in names:
        points = [(line["images"], line[name]) for line in lines if name in line]
        x, y = zip(*points, strict=True)
        shown = _NAMES.get(name, name.replace("_", " ").capitalize())
        curve = Curve(shown, x, y, marks)
        accuracy = name.startswith("accuracy")
        groups["Speed" if name in _SPEED else "Accuracy" if accuracy else "Losses"].append(curve)
    return {name: curves for name, curves in groups.items() if curves}


@torch.no_grad()
def _measured(
    run: Storage,
    images: int,
    inputs: Tensor,
    device: torch.device,
    marks: list[tuple[float, str]],
) -> Curve | None:
    """Pixel distance of ``inputs``, at their full resolution, for some of the run's snapshots.

    The output of a lower-resolution snapshot is enlarged (bilinear) before it is compared.
    """
    points = []
    for count in _evenly([count for count in snapshot_counts(run) if count <= images]):
        try:
            model = load_snapshot(snapshot_place(run, count), str(device))
        except UserError:
            continue  # a damaged earlier snapshot says nothing about this one
        small = F.interpolate(inputs.to(device), (model.resolution,) * 2, mode="area")
        outputs = F.interpolate(model.reconstruct(small), inputs.shape[-2:], mode="bilinear")
        points.append((count, float(pixel_distance(inputs, outputs.cpu()).mean())))
    if len(points) < 2:
        return None
    x, y = zip(*points, strict=True)
    return Curve("Pixel distance of held-out images", x, y, marks, dots=True)


def _steps(run: Storage, images: int, lines: list[dict[str, Any]]) -> list[Milestone]:
    """A quarter of some of the run's sample sheets, as small PNGs."""
    found = []
    for count in _evenly([count for count in sheet_counts(run) if count <= images]):
        picture = Image.open(io.BytesIO(read_sheet(run, count)))
        quarter = picture.crop((0, 0, picture.width // 2, picture.height // 2))
        quarter.thumbnail((272, 272))
        sides = [int(line["resolution"]) for line in lines if line["images"] <= count]
        found.append(Milestone(count, sides[-1] if sides else None, png(quarter)))
    return found


def _evenly(counts: list[int]) -> list[int]:
    """The first, the last, and evenly spaced ones in between, 6 in total."""
    steps = min(STAGES, len(counts))
    chosen = [counts[round(i * (len(counts) - 1) / max(1, steps - 1))] for i in range(steps)]
    return list(dict.fromkeys(chosen))
