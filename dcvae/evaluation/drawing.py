"""The pictures of a report: contact sheets of what a measured model makes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dcvae.latent import direction_between, edit, interpolate, mix
from dcvae.models import DCVAE
from dcvae.pictures import crossed, pairs, png, sheet

LARGEST_TILE = 128
EXAMPLES = 20  # images with an attribute, and as many without it (A.2)
STRENGTHS = (0.0, 0.5, 1.0, 1.5)
EDITS = 6


@dataclass
class Shown:
    """What there is to draw from."""

    inputs: Tensor = field(default_factory=lambda: torch.empty(0))
    """The first images of the split, float in [-1, 1] ``(N, C, r, r)``."""
    samples: Tensor = field(default_factory=lambda: torch.empty(0))
    """Images from the prior, as many."""
    labels: Tensor | None = None
    """Classes of ``inputs``, int64 ``(N,)``."""
    examples: dict[int, Tensor] = field(default_factory=dict)
    """Class → latents ``(20, d)`` of training images, where there are as many."""


@dataclass(frozen=True)
class Pictures:
    """PNG files by name, and what the rows of ``edits`` show."""

    files: dict[str, bytes]
    edits: tuple[tuple[int, int], ...] = ()
    """From class, to class; empty when the images have no labels."""


def examples_by_class(latents: Tensor, labels: Tensor) -> dict[int, Tensor]:
    """Class → its first 20 latents; classes with fewer are left out."""
    found = {}
    for label in torch.unique(labels).tolist():
        mine = latents[labels == label][:EXAMPLES]
        if len(mine) == EXAMPLES:
            found[int(label)] = mine
    return found


@torch.no_grad()
def draw(model: DCVAE, shown: Shown) -> Pictures:
    """All contact sheets; images above 128 px are reduced to it, and fewer."""
    inputs, device = shown.inputs, next(model.parameters()).device
    side = min(max(64, inputs.shape[-1]), LARGEST_TILE)
    count, columns = (64, 8) if side <= 64 else (24, 6)
    first = inputs[: count // 2]
    outputs = model.reconstruct(first.to(device)).cpu()
    files = {
        "samples": png(sheet(shown.samples[:count], columns, side)),
        "reconstructions": png(sheet(pairs(first, outputs), columns, side, group=2)),
        "interpolation": png(sheet(_walks(model, inputs.to(device)), 9, 96)),
        "mixing": _mixing(model, inputs, device),
    }
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
    """Six inputs down, six across, and between them half of each (Figure 10)."""
    rows = min(6, len(inputs) // 2)
    a, b = inputs[:rows], inputs[rows : rows + 6]
    grid = mix(model, a.to(device), b.to(device)).cpu()
    return png(sheet(crossed(a, b, grid), 1 + len(b), 96))


def _changes(shown: Shown) -> list[tuple[int, int, int]]:
    """(number of an input, its class, the class nearest to it in the latents), a class a row."""
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
    """In each row an input, and it moved from its class towards another (Figure 6)."""
    rows, device = [], next(model.parameters()).device
    for number, start, end in changes:
        direction = direction_between(shown.examples[end], shown.examples[start])
        image = shown.inputs[number : number + 1]
        moved = edit(model, image.to(device), direction, STRENGTHS)
        rows.append(torch.cat([image, moved[0].cpu()]))
    return torch.cat(rows)
