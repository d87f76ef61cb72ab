"""Pictures of a report: what they are made of."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dcvae.evaluation.shown import Shown, examples_by_class
from dcvae.latent import attribute_direction, edit, mix
from dcvae.models import DCVAE
from dcvae.pictures import tiles
from dcvae.presets import configure
from dcvae.report.drawing import STRENGTHS, draw

TILE, STEP = 96, 102  # a tile, and a tile with its gap


@pytest.fixture(scope="module")
def model() -> DCVAE:
    torch.manual_seed(0)
    return DCVAE(configure("smoke")).eval()


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    return torch.rand(14, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def cut(picture: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A sheet's tiles ``(rows, columns, 3, 96, 96)``, and how opaque each is."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)))
    rows, columns = (round((side + STEP - TILE) / STEP) for side in pixels.shape[:2])
    found = np.stack(
        [
            np.stack([pixels[r * STEP :, c * STEP :][:TILE, :TILE] for c in range(columns)])
            for r in range(rows)
        ]
    )
    return found[..., :3].transpose(0, 1, 4, 2, 3), found[..., 3].mean(axis=(2, 3))


def as_tiles(images: torch.Tensor) -> np.ndarray:
    return tiles(images, TILE).numpy()


def test_examples_are_the_first_20_of_each_class_that_has_them():
    labels = torch.tensor([0, 1] * 30 + [2] * 19)
    latents = torch.arange(79.0)[:, None]
    found = examples_by_class(latents, labels)
    assert list(found) == [0, 1]
    assert found[1].flatten().tolist() == [float(n) for n in range(1, 40, 2)]


def test_the_mixing_grid_has_its_sources_beside_it(model, inputs):
    sheet, opaque = cut(draw(model, Shown(inputs, inputs)).files["mixing"])
    assert sheet.shape[:2] == (7, 7)
    assert opaque[0, 0] == 0
    assert opaque[0, 1] == opaque[6, 6] == 255
    a, b = inputs[:6], inputs[6:12]
    assert np.array_equal(sheet[0, 1:], as_tiles(b))
    assert np.array_equal(sheet[1:, 0], as_tiles(a))
    assert np.array_equal(sheet[3, 1:], as_tiles(mix(model, a, b)[2]))


def test_edits_go_from_a_class_to_the_nearest(model, inputs):
    # Three classes: 0 and 1 are near each other in the latents, 2 is near nothing.
    where = {0: 0.0, 1: 1.0, 2: -9.0}
    shown = Shown(
        inputs,
        inputs,
        torch.tensor([2, 1, 1, 0] + [1] * 10),
        {label: torch.full((20, 8), at) for label, at in where.items()},
    )
    pictures = draw(model, shown)
    assert pictures.edits == ((0, 1), (1, 0), (2, 0))
    sheet, _ = cut(pictures.files["edits"])
    assert sheet.shape[:2] == (3, 1 + len(STRENGTHS))
    for row, (number, step) in enumerate(((3, 1.0), (1, -1.0), (0, 9.0))):
        image = inputs[number : number + 1]
        moved = edit(model, image, torch.full((8,), step), STRENGTHS)[0]
        assert np.array_equal(sheet[row], as_tiles(torch.cat([image, moved])))


def test_images_without_labels_are_not_edited(model, inputs):
    pictures = draw(model, Shown(inputs, inputs))
    assert pictures.edits == ()
    assert set(pictures.files) == {"samples", "reconstructions", "interpolation", "mixing"}


def test_a_direction_of_latents_is_that_of_their_images(model, inputs):
    with torch.no_grad():
        latents = model.encode(inputs)[0]
    expected = latents[:7].mean(dim=0) - latents[7:].mean(dim=0)
    assert torch.allclose(attribute_direction(model, inputs[:7], inputs[7:]), expected, atol=1e-5)
