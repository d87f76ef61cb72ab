"""Walks in the latent space, on a linear autoencoder where every step is known."""

import pytest
import torch

from dcvae.errors import UserError
from dcvae.latent import attribute_direction, edit, interpolate, mix, slerp


class Linear:
    """Images are their latents in another order: 16 numbers as 1 x 4 x 4."""

    def encode(self, images):
        z = images.flatten(1)
        return z, torch.zeros_like(z)

    def decode(self, z):
        return z.view(-1, 1, 4, 4)


@pytest.fixture
def images():
    return torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_an_interpolation_is_evenly_spaced_between_its_ends(images):
    strip = interpolate(Linear(), images[:2], images[2:4], steps=5)
    assert strip.shape == (2, 5, 1, 4, 4)
    for i in range(5):
        expected = torch.lerp(images[:2], images[2:4], i / 4)
        assert torch.allclose(strip[:, i], expected, atol=1e-6)
    with pytest.raises(UserError, match="2 steps"):
        interpolate(Linear(), images, images, steps=1)


def test_mixing_takes_each_dimension_from_one_of_the_two(images):
    grid = mix(Linear(), images[:2], images[2:], fraction=0.25, seed=3)
    assert grid.shape == (2, 3, 1, 4, 4)
    for row in range(2):
        for column in range(3):
            from_b = grid[row, column] == images[2 + column]
            assert torch.equal(grid[row, column][~from_b], images[row][~from_b])
            assert from_b.sum() == 4
            assert torch.equal(from_b, grid[0, 0] == images[2])
    assert torch.equal(mix(Linear(), images[:1], images[1:2], fraction=0.0)[0, 0], images[0])


def test_an_edit_moves_along_the_difference_of_the_means(images):
    lighter = images + 0.5
    direction = attribute_direction(Linear(), lighter, images)
    assert torch.allclose(direction, torch.full((16,), 0.5), atol=1e-6)
    edited = edit(Linear(), images, direction, strengths=(-2, 0, 1))
    assert torch.allclose(edited[:, 0], images - 1, atol=1e-6)
    assert torch.equal(edited[:, 1], images)
    assert torch.allclose(edited[:, 2], lighter, atol=1e-6)
    with pytest.raises(UserError, match="without it"):
        attribute_direction(Linear(), images, images[:0])


def test_the_great_circle_keeps_the_norm_and_its_ends():
    a, b = torch.randn(2, 100, 64, generator=torch.Generator().manual_seed(1))
    a, b = 8 * a / a.norm(dim=1, keepdim=True), 8 * b / b.norm(dim=1, keepdim=True)
    for t in (0.0, 0.3, 1.0):
        point = slerp(a, b, torch.full((100, 1), t))
        assert torch.allclose(point.norm(dim=1), torch.full((100,), 8.0), atol=1e-4)
    assert torch.allclose(slerp(a, b, torch.zeros(100, 1)), a, atol=1e-4)
    assert torch.allclose(slerp(a, b, torch.ones(100, 1)), b, atol=1e-4)
