"""Real photographs, cut into small images."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from dcvae.evaluation.extractors import Extractor, load_extractor


def photo_crops(count: int, seed: int, photos: tuple[int, ...] = (0, 1)) -> torch.Tensor:
    """uint8 ``(count, 3, 32, 32)``: random places of scikit-learn's two photographs."""
    rng = np.random.default_rng(seed)
    images = load_sample_images().images
    crops = []
    for i in range(count):
        image = images[photos[i % len(photos)]]
        y, x = rng.integers(0, image.shape[0] - 64), rng.integers(0, image.shape[1] - 64)
        crops.append(image[y : y + 64 : 2, x : x + 64 : 2])
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="session")
def extractor() -> Extractor:
    return load_extractor("efficientnet-lite0", resolution=32)


@pytest.fixture(scope="session")
def photos() -> torch.Tensor:
    return photo_crops(200, seed=1)
