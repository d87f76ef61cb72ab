"""Principal components of pixels, beside scikit-learn's and SciPy's own answers."""

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.datasets import load_digits

from dcvae.evaluation.principal import MOST_PIXELS, principal_components, reduced


def test_images_within_the_limit_are_left_as_they_are() -> None:
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    assert torch.equal(reduced(images), images.flatten(1))


@pytest.mark.parametrize(("channels", "side", "expected"), [(1, 64, 32), (3, 32, 16), (3, 128, 16)])
def test_larger_images_are_reduced_to_the_means_of_squares(
    channels: int, side: int, expected: int
) -> None:
    images = torch.randint(0, 256, (2, channels, side, side), dtype=torch.uint8)
    found = reduced(images)
    step = side // expected
    squares = images.numpy().reshape(2, channels, expected, step, expected, step)
    means = squares.astype(np.float64).mean(axis=(3, 5)).reshape(2, -1)
    assert found.shape[1] <= MOST_PIXELS
    assert found.dtype == torch.uint8
    assert np.abs(found.numpy() - means).max() <= 0.5


def test_components_are_the_singular_vectors_of_the_centred_pixels() -> None:
    digits = load_digits().data.astype(np.uint8)
    train, test = torch.from_numpy(digits[:1400]), torch.from_numpy(digits[1400:])
    found = principal_components(train, test, 16)
    mean = digits[:1400].mean(axis=0)
    _, _, axes = scipy.linalg.svd(digits[:1400] - mean, full_matrices=False)
    for rows, mine in zip((digits[:1400], digits[1400:]), found, strict=True):
        theirs = (rows - mean) @ axes[:16].T
        signs = np.sign((theirs * mine.numpy()).sum(axis=0))
        np.testing.assert_allclose(mine.numpy(), theirs * signs, atol=1e-3)


def test_there_are_at_most_as_many_components_as_pixels_and_images() -> None:
    images = torch.randint(0, 256, (10, 36), dtype=torch.uint8)
    assert principal_components(images, images[:2], 64)[1].shape == (2, 10)
    many = torch.randint(0, 256, (100, 36), dtype=torch.uint8)
    assert principal_components(many, many[:2], 64)[0].shape == (100, 36)
