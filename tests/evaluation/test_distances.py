"""The distances: closed forms, torch-fidelity's values, and the order of degradations."""

import math

import numpy as np
import pytest
import torch
import torch_fidelity
from torch.utils.data import Dataset
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchvision.transforms.functional import gaussian_blur

from dcvae.errors import UserError
from dcvae.evaluation.distances import (
    Features,
    Statistics,
    extract,
    frechet_distance,
    inception_score,
    kernel_distance,
    pixel_distance,
    precision_recall,
)
from dcvae.pictures import to_float, to_uint8

from .conftest import photo_crops


class Images(Dataset):
    """What torch-fidelity wants: one uint8 image an item."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


def features_of(images: torch.Tensor, extractor) -> Features:
    return extract(images.split(64), extractor, len(images))


def test_a_set_has_no_distance_to_itself(photos, extractor):
    features = features_of(photos, extractor)
    other = features_of(photo_crops(200, seed=2), extractor)
    floor = frechet_distance(other.statistics, features.statistics)
    assert frechet_distance(features.statistics, features.statistics) < 1e-4 * floor
    # Unbiased for independent sets; an image beside itself is more than equal.
    assert kernel_distance(features.values, features.values) <= 0
    assert precision_recall(features.values, features.values) == (1.0, 1.0)


def test_two_gaussians_have_the_distance_of_the_closed_form():
    # Commuting covariances: |μa - μb|² + Σ (σa - σb)².
    generator = torch.Generator().manual_seed(0)
    sigma_a, sigma_b = torch.tensor([1.0, 2.0, 0.5, 3.0]), torch.tensor([2.0, 1.0, 0.5, 1.0])
    shift = torch.tensor([1.0, 0.0, -2.0, 0.5])
    a = torch.randn(200_000, 4, generator=generator) * sigma_a
    b = torch.randn(200_000, 4, generator=generator) * sigma_b + shift
    expected = float(shift.pow(2).sum() + (sigma_a - sigma_b).pow(2).sum())
    assert frechet_distance(Statistics.of(a), Statistics.of(b)) == pytest.approx(expected, rel=0.01)


def test_covariances_that_do_not_commute_have_the_distance_of_the_matrix_root():
    rng = np.random.default_rng(3)
    factors = [rng.normal(size=(6, 6)) for _ in range(2)]
    a, b = (Statistics(rng.normal(size=6), f @ f.T) for f in factors)
    eigenvalues, vectors = np.linalg.eig(a.cov @ b.cov)
    root = (vectors @ np.diag(np.sqrt(eigenvalues)) @ np.linalg.inv(vectors)).real
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.cov + b.cov - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_ours_is_torch_fidelitys_on_the_same_features(photos, extractor):
    other = photo_crops(150, seed=5)
    a, b = features_of(photos, extractor), features_of(other, extractor)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(a.values), fid_features_to_statistics(b.values), verbose=False
    )["frechet_inception_distance"]
    assert frechet_distance(a.statistics, b.statistics) == pytest.approx(theirs, rel=1e-5)


def test_the_whole_path_is_torch_fidelitys(photos, extractor):
    other = photo_crops(200, seed=5)
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(photos),
        input2=Images(other),
        fid=True,
        kid=True,
        kid_subset_size=200,
        kid_subsets=1,
        prc=True,
        feature_extractor="efficientnet-lite0",
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    a, b = features_of(photos, extractor), features_of(other, extractor)
    frechet = frechet_distance(a.statistics, b.statistics)
    assert frechet == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    kernel = kernel_distance(a.values, b.values)
    assert kernel == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3, abs=1e-4)
    assert precision_recall(a.values, b.values) == pytest.approx(
        (theirs["precision"], theirs["recall"]), abs=0.01
    )


def test_worse_images_are_further_away(photos, extractor):
    real = features_of(photo_crops(200, seed=2), extractor)
    noise = torch.randn(photos.shape, generator=torch.Generator().manual_seed(0))
    degraded = {
        "none": photos,
        "blur 0.5": gaussian_blur(photos, 5, 0.5),
        "blur 2": gaussian_blur(photos, 9, 2.0),
        "noise 10": (photos + 10 * noise).clamp(0, 255).to(torch.uint8),
        "noise 40": (photos + 40 * noise).clamp(0, 255).to(torch.uint8),
        "one mode": photo_crops(200, seed=3, photos=(0,)),
    }
    frechet, kernel = {}, {}
    for name, images in degraded.items():
        features = features_of(images, extractor)
        frechet[name] = frechet_distance(features.statistics, real.statistics)
        kernel[name] = kernel_distance(features.values, real.values)
    for distance in (frechet, kernel):
        assert distance["none"] < distance["blur 0.5"] < distance["blur 2"]
        assert distance["none"] < distance["noise 10"] < distance["noise 40"]
        assert distance["none"] < distance["one mode"]
    assert abs(kernel["none"]) < 0.1 * min(kernel["blur 2"], kernel["noise 40"])


def test_dropped_modes_cost_recall_and_noise_costs_precision():
    generator = torch.Generator().manual_seed(0)
    modes = torch.tensor([[0.0] * 8, [20.0] * 8])
    real = torch.randn(400, 8, generator=generator) + modes.repeat(200, 1)
    one_mode = torch.randn(400, 8, generator=generator)
    half_noise = torch.cat([real[:200], 50 * torch.randn(200, 8, generator=generator)])
    precision, recall = precision_recall(one_mode, real)
    assert precision > 0.7
    assert recall < 0.6
    assert precision_recall(half_noise, real)[0] < 0.6


def test_the_inception_score_is_the_number_of_certain_classes():
    certain = 50 * torch.eye(10).repeat(1000, 1)
    mean, _ = inception_score(certain)
    assert mean == pytest.approx(10, rel=0.02)
    assert inception_score(torch.zeros(100, 10))[0] == pytest.approx(1)


def test_the_pixel_distance_is_in_8_bit_levels():
    black, white = torch.full((2, 3, 4, 4), -1.0), torch.full((2, 3, 4, 4), 1.0)
    assert pixel_distance(black, white).tolist() == pytest.approx([255, 255])
    half = black.clone()
    half[:, :, :2] = 1.0
    assert pixel_distance(black, half).tolist() == pytest.approx([255 / math.sqrt(2)] * 2)


def test_levels_survive_the_way_through_floats():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(to_uint8(to_float(levels)), levels)
    assert to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_too_few_images_are_refused(extractor):
    with pytest.raises(UserError, match="2 images"):
        Statistics.of(torch.zeros(1, 4))
    with pytest.raises(UserError, match="split is empty"):
        extract(iter(()), extractor, 4)
    with pytest.raises(UserError, match="more than 3"):
        precision_recall(torch.zeros(3, 4), torch.zeros(9, 4))
