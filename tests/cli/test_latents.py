"""Interpolating, mixing and editing from the command line: pictures of the right make."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcvae.models import DCVAE
from dcvae.presets import configure
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage
from tests.cli.test_verbs import dcvae

TILE, GAP = 64, 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a snapshot, and pictures light and dark."""
    folder = tmp_path_factory.mktemp("latents")
    torch.manual_seed(0)
    model = DCVAE(configure("smoke"))
    dataset = {"uri": "none", "name": "none", "fingerprint": "0" * 64}
    save_snapshot(open_storage(str(folder / "model")), model, images=0, dataset=dataset)
    noise = np.random.default_rng(0)
    for kind, low in (("dark", 0), ("light", 128)):
        (folder / kind).mkdir()
        for i in range(3):
            pixels = noise.integers(low, low + 128, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{i}.png")
    return folder


def tiles(file: Path) -> list[list[np.ndarray]]:
    """The sheet's pictures, by row."""
    pixels = np.asarray(Image.open(file).convert("RGB"))
    step = TILE + GAP
    rows, columns = (round((side + GAP) / step) for side in pixels.shape[:2])
    return [
        [pixels[r * step :, c * step :][:TILE, :TILE] for c in range(columns)] for r in range(rows)
    ]


def test_interpolate_begins_and_ends_with_the_reconstructions(place: Path) -> None:
    dcvae(place, "interpolate model dark/0.png light/0.png --steps 5 --out walk.png")
    dcvae(place, "reconstruct model dark/0.png light/0.png --out pairs.png")
    (walk,) = tiles(place / "walk.png")
    assert len(walk) == 5
    flat = [tile for row in tiles(place / "pairs.png") for tile in row]
    assert np.array_equal(walk[0], flat[1])
    assert np.array_equal(walk[-1], flat[3])
    assert not np.array_equal(walk[1], walk[3])


def test_mix_is_a_grid_between_its_sources(place: Path) -> None:
    sources = "--row dark/0.png --row dark/1.png --column light/0.png"
    dcvae(place, f"mix model {sources} --fraction 0 --out none.png")
    dcvae(place, f"mix model {sources} --fraction 1 --out all.png")
    dcvae(place, "reconstruct model dark/0.png light/0.png --out pairs.png")
    none, everything = tiles(place / "none.png"), tiles(place / "all.png")
    assert [len(row) for row in none] == [2, 2, 2]
    flat = [tile for row in tiles(place / "pairs.png") for tile in row]
    assert np.array_equal(none[1][1], flat[1]), "nothing taken: the row's own reconstruction"
    assert np.array_equal(everything[1][1], flat[3]), "all taken: the column's reconstruction"


def test_edit_moves_along_the_attribute(place: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (place / "light" / name).write_bytes(b"\0no picture")
    dcvae(place, "edit model dark/0.png --with light --without dark --out edited.png")
    (row,) = tiles(place / "edited.png")
    assert len(row) == 5
    dcvae(place, "reconstruct model dark/0.png --out pair.png")
    assert np.array_equal(row[2], tiles(place / "pair.png")[0][1])
    assert not np.array_equal(row[0], row[4])
