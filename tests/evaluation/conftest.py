"""Crops of real photographs, the digits, and models of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from dcvae.evaluation.extractors import Extractor, load_extractor
from dcvae.models import DCVAE
from dcvae.presets import configure
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage


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


def write_model(folder: Path, seed: int = 0, break_it: bool = False, images: int = 192) -> str:
    """An untrained model for digits of 8 pixels; a broken one decodes to NaN."""
    torch.manual_seed(seed)
    model = DCVAE(configure("smoke")).eval()
    if break_it:
        with torch.no_grad():
            next(model.decoder.parameters()).fill_(float("nan"))
    dataset = {"uri": "s3://data/digits", "name": "digits", "fingerprint": "a" * 64}
    save_snapshot(open_storage(str(folder)), model, images=images, dataset=dataset)
    return str(folder)


@pytest.fixture(scope="session")
def digits(digits: Path) -> str:
    """scikit-learn's digits up to 8 pixels: 1,438 to learn from and 359 held out."""
    return str(digits)


@pytest.fixture(scope="session")
def extractor() -> Extractor:
    return load_extractor("efficientnet-lite0", resolution=32)


@pytest.fixture(scope="session")
def photos() -> torch.Tensor:
    return photo_crops(200, seed=1)
