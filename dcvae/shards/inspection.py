"""What a shard set holds, for people: a table, and a sheet of random images."""

from collections.abc import Sequence
from io import StringIO

import numpy as np
import torch
from PIL.Image import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dcvae.errors import UserError
from dcvae.pictures import sheet, to_float
from dcvae.shards.manifest import Manifest
from dcvae.shards.reader import read_shard
from dcvae.storage import Storage
from dcvae.terminal import printable

SHARDS = 8  # most shards that a sheet's images come from; a shard has up to 50 MB
COLUMNS, SIDE = 8, 96
_HEAD = ("split", "pixels", "stored", "images", "shards", "size", "per image")
_WIDTH = 200  # wider than any row, so that output does not depend on the terminal
_FEW = 5  # skipped images that the table names
_FEW_CLASSES = 10


def counts(manifest: Manifest) -> str:
    """``2,700 train, 300 test``."""
    return ", ".join(f"{manifest.samples(split):,} {split}" for split in manifest.splits)


def summary(manifest: Manifest) -> str:
    """A set in a few lines for a log: its splits, classes, and what was left out of the source."""
    _, *understood = _understood(manifest)
    left_out = [*_skipped(manifest), *_ignored(manifest)]
    return printable("\n".join([counts(manifest), *understood, *filter(None, left_out)]))


def table(manifest: Manifest) -> str:
    """The manifest as text: splits, resolutions and sizes, how the source was interpreted, and what
    was left out."""
    colours = "grey" if manifest.channels == 1 else "RGB"
    labels = f", {len(manifest.classes)} classes" if manifest.classes else ""
    rows: list[tuple[str, ...]] = []
    total = 0
    for split, levels in manifest.splits.items():
        for resolution in manifest.resolutions:
            shards = levels[str(resolution)]
            size, images = sum(s.bytes for s in shards), sum(s.samples for s in shards)
            total += size
            rows.append(
                (
                    split,
                    str(resolution),
                    manifest.encoding[str(resolution)],
                    f"{images:,}",
                    f"{len(shards):,}",
                    in_bytes(size),
                    in_bytes(size // max(1, images)),
                )
            )
    made = f"dcvae {manifest.dcvae_version}, {manifest.created_at}"
    lines = [
        f"{manifest.name} from {manifest.source.uri}: {colours}{labels}, {in_bytes(total)}",
        f"fingerprint {manifest.fingerprint[:8]}, {made}",
        "",
        *_drawn(_HEAD, rows),
    ]
    return "\n".join([*lines, *_understood(manifest), *_skipped(manifest), *_ignored(manifest)])


def contact_sheet(
    storage: Storage, manifest: Manifest, split: str, resolution: int, count: int, seed: int
) -> Image:
    """``count`` random images of ``split`` at ``resolution``; equal for equal ``seed``.

    They come from a few random shards, so that inspecting a large set costs little.

    Raises:
        UserError: there is no such split or resolution, or a shard is damaged.
    """
    shards = manifest.shards(split, resolution)
    if not shards:
        raise UserError(f"the split {split} of {manifest.name} has no images: choose another")
    chance = np.random.default_rng(seed)
    chosen = chance.permutation(len(shards))[:SHARDS].tolist()
    places = [(shard, sample) for shard in chosen for sample in range(shards[shard].samples)]
    numbers = chance.permutation(len(places))[:count]
    drawn = np.array([places[number] for number in numbers], np.int64)
    shape = (resolution, resolution, manifest.channels)
    pixels = np.empty((len(drawn), *shape), np.uint8)
    for shard in set(drawn[:, 0].tolist()):
        samples = read_shard(storage, shards[shard], manifest.encoding[str(resolution)], shape)
        for row in np.flatnonzero(drawn[:, 0] == shard):
            samples.gather(drawn[row, 1:], pixels[row : row + 1])
    return sheet(to_float(torch.from_numpy(pixels).permute(0, 3, 1, 2)), COLUMNS, SIDE)


def in_bytes(count: int) -> str:
    """``850 B``, ``1.6 kB`` or ``2.4 GB``."""
    if count < 1000:
        return f"{count} B"
    size, units = float(count), iter("kMGTP")
    unit = ""
    while size >= 999.5:
        size, unit = size / 1000, next(units)
    return f"{size:.1f} {unit}B" if size < 99.95 else f"{size:.0f} {unit}B"


def _drawn(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head:
        drawn.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*map(escape, row))
    console = Console(file=StringIO(), width=_WIDTH, color_system=None)
    with console.capture() as lines:
        console.print(drawn)
    return [line.rstrip() for line in lines.get().splitlines()]


def _understood(manifest: Manifest) -> list[str]:
    names = manifest.classes or []
    more = f", … and {len(names) - _FEW_CLASSES:,} more" if len(names) > _FEW_CLASSES else ""
    said = f"{len(names):,} classes: {', '.join(names[:_FEW_CLASSES])}{more}"
    return ["", f"  {said if names else 'no labels'}", *(f"  {note}" for note in manifest.notes)]


def _ignored(manifest: Manifest) -> list[str]:
    found = manifest.ignored
    if not found:
        return []
    total = sum(each.files for each in found)
    lines = ["", f"{total:,} other files were left out:"]
    lines += [f"  {each.files:,} {each.kind}, such as {each.example}" for each in found[:_FEW]]
    return [*lines, f"  … and {len(found) - _FEW:,} more kinds"] if len(found) > _FEW else lines


def _skipped(manifest: Manifest) -> list[str]:
    found = manifest.skipped
    if not found:
        return []
    lines = ["", f"{len(found):,} images were skipped:"]
    lines += [f"  {each.split}/{each.name}: {each.reason}" for each in found[:_FEW]]
    return [*lines, f"  … and {len(found) - _FEW:,} more"] if len(found) > _FEW else lines
