"""Folders of small pictures, and what a source finds in them."""

import shutil
from pathlib import Path

from PIL import Image

from dcvae.sharding.sources import Source


def paint(path: Path, value: int = 0, side: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (value % 256, 0, 0)).save(path)


def names(source: Source, split: str) -> list[str]:
    return [item.name for item in source.items(split)]


def zipped(folder: Path) -> str:
    return shutil.make_archive(str(folder), "zip", folder)
