"""The pictures of a report: contact sheets of a measured model's images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcvae.evaluation.shown import Shown
from dcvae.latent import direction_between, edit, interpolate, mix
from dcvae.models import DCVAE
from dcvae.pictures import crossed, pairs, png, sheet

LARGEST_TILE = 128
STRENGTHS = (0.0, 0.5, 1.0, 1.5)
EDITS = 6


@dataclass(frozen=True)
class Pictures:
    """PNG files by name, and what the rows of ``edits`` show."""

    files: dict[str, bytes]
    edits: tuple[tuple[int, int], ...] = ()
    """(from class, to class) of each row; empty if the images have no labels."""


@torch.no_grad()
def draw(model: DCVAE, shown: Shown) -> Pictures:
    """All contact sheets; images above 128 px are reduced to 128 px, and there are fewer of them.

    With a single image, nothing is interpolated or mixed.
    """
    inputs, device = shown.inputs, next(model.parameters()).device
    side = min(max(64, inputs.shape[-1]), LARGEST_TILE)
    count, columns = (64, 8) if side <= 64 else (24, 6)
    first = inputs[: max(1, count // 2)]
    outputs = model.reconstruct(first.to(device)).cpu()
    files = {
        "samples": png(sheet(shown.samples[:count], columns, side)),
        "reconstructions": png(sheet(pairs(first, outputs), columns, side, group=2)),
    }
    if len(inputs) > 1:
        files["interpolation"] = png(sheet(_walks(model, inputs.to(device)), 9, 96))
        files["mixing"] = _mixing(model, inputs, device)
    changes = _changes(shown)
    if changes:
        files["edits"] = png(sheet(_edits(model, shown, changes), 1 + len(STRENGTHS), 96))
    return Pictures(files, tuple((start, end) for _, start, end in changes))


def _walks(model: DCVAE, inputs: Tensor) -> Tensor:
    """Five rows of nine images, from one input to another (Figure 5)."""
    rows = min(5, len(inputs) // 2)
    between = interpolate(model, inputs[:rows], inputs[rows : 2 * rows], steps=9)
    return between.cpu().flatten(0, 1)


def _mixing(model: DCVAE, inputs: Tensor, device: torch.device) -> bytes:
    """Six inputs down, six across, and mixtures with half of each in between (Figure 10)."""
    rows = min(6, len(inputs) // 2)
    a, b = inputs[:rows], inputs[rows : rows + 6]
    grid = mix(model, a.to(device), b.to(device)).cpu()
    return png(sheet(crossed(a, b, grid), 1 + len(b), 96))


def _changes(shown: Shown) -> list[tuple[int, int, int]]:
    """(number of an input, its class, the nearest class in the latent space), one per class."""
    if shown.labels is None or len(shown.examples) < 2:
        return []
    means = {label: latents.mean(dim=0) for label, latents in shown.examples.items()}
    found: dict[int, tuple[int, int, int]] = {}
    for number, label in enumerate(shown.labels.tolist()):
        if label in means and label not in found:
            others = (other for other in means if other != label)
            nearest = min(others, key=lambda other: float((means[other] - means[label]).norm()))
            found[label] = (number, label, nearest)
    return [found[label] for label in sorted(found)][:EDITS]


def _edits(model: DCVAE, shown: Shown, changes: Sequence[tuple[int, int, int]]) -> Tensor:
    """Rows that each show an input being moved from its class towards another (Figure 6)."""
    rows, device = [], next(model.parameters()).device
    for number, start, end in changes:
        direction = direction_between(shown.examples[end], shown.examples[start])
        image = shown.inputs[number : number + 1]
        moved = edit(model, image.to(device), direction, STRENGTHS)
        rows.append(torch.cat([image, moved[0].cpu()]))
    return torch.cat(rows)
