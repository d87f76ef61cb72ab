"""The distances: closed forms, torch-fidelity's values, and the order of degradations."""

import math

import numpy as np
import pytest
import torch
import torch_fidelity
from torch.utils.data import Dataset
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchvision.transforms.functional import gaussian_blur

from dcvae.errors import UserError
from dcvae.evaluation.distances import (
    frechet_distance,
    kernel_distance,
    pixel_distance,
    precision_recall,
)
from dcvae.evaluation.feature_set import AT_ONCE, FeatureSet, Score, Statistics, gathered
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


def features_of(images: torch.Tensor, extractor) -> FeatureSet:
    return gathered((extractor(part)["1280"] for part in images.split(64)), len(images))


def random_features(count: int, size: int, seed: int, offset: float = 0.0) -> torch.Tensor:
    """Correlated, skewed, and far from 0: as features are, and harder."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=torch.Generator().manual_seed(99)) / size**0.5
    return (torch.randn(count, size, generator=generator) @ mix).exp() + offset


def test_a_set_has_no_distance_to_itself(photos, extractor):
    features = features_of(photos, extractor)
    other = features_of(photo_crops(200, seed=2), extractor)
    floor = frechet_distance(other.statistics, features.statistics)
    assert frechet_distance(features.statistics, features.statistics) < 1e-4 * floor
    # Unbiased for independent sets; an image beside itself is more than equal.
    assert kernel_distance(features.kept, features.kept) <= 0
    assert precision_recall(features.kept, features.kept) == (1.0, 1.0)


def test_two_gaussians_have_the_distance_of_the_closed_form():
    # Commuting covariances: |μa - μb|² + Σ (σa - σb)².
    generator = torch.Generator().manual_seed(0)
    sigma_a, sigma_b = torch.tensor([1.0, 2.0, 0.5, 3.0]), torch.tensor([2.0, 1.0, 0.5, 1.0])
    shift = torch.tensor([1.0, 0.0, -2.0, 0.5])
    a = torch.randn(200_000, 4, generator=generator) * sigma_a
    b = torch.randn(200_000, 4, generator=generator) * sigma_b + shift
    expected = float(shift.pow(2).sum() + (sigma_a - sigma_b).pow(2).sum())
    found = [gathered([values], len(values), keep=0).statistics for values in (a, b)]
    assert frechet_distance(*found) == pytest.approx(expected, rel=0.01)


def test_covariances_that_do_not_commute_have_the_distance_of_the_matrix_root():
    rng = np.random.default_rng(3)
    factors = [rng.normal(size=(6, 6)) for _ in range(2)]
    a, b = (Statistics(rng.normal(size=6), f @ f.T) for f in factors)
    eigenvalues, vectors = np.linalg.eig(a.cov @ b.cov)
    root = (vectors @ np.diag(np.sqrt(eigenvalues)) @ np.linalg.inv(vectors)).real
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.cov + b.cov - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_streamed_moments_are_those_of_all_features_at_once(offset):
    values = random_features(2 * AT_ONCE + 345, 24, seed=1, offset=offset)
    whole = values.double().numpy()
    for sizes in ((64,), (1, 999, 1, 1500), (len(values),)):
        parts, rest = [], values
        for i in range(len(values)):
            if not len(rest):
                break
            parts.append(rest[: sizes[i % len(sizes)]])
            rest = rest[sizes[i % len(sizes)] :]
        found = gathered(parts, len(values), keep=0).statistics
        np.testing.assert_allclose(found.mean, whole.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.cov, np.cov(whole.T), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("few", "many"), [(900, 1500), (50, 1500), (50, 40)])
def test_the_frechet_distance_is_torch_fidelitys_on_the_same_features(few, many):
    a, b = random_features(few, 96, seed=1), random_features(many, 96, seed=2)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(a), fid_features_to_statistics(b), verbose=False
    )["frechet_inception_distance"]
    ours = [gathered(values.split(64), len(values)).statistics for values in (a, b)]
    assert frechet_distance(*ours) == pytest.approx(theirs, rel=1e-4)
    assert frechet_distance(*ours[::-1]) == pytest.approx(theirs, rel=1e-4)
    kept = [gathered(values.split(64), len(values), keep=10).statistics for values in (a, b)]
    assert frechet_distance(*kept) == pytest.approx(theirs, rel=1e-4)


def test_the_kernel_distance_is_torch_fidelitys_on_the_same_features():
    a, b = random_features(1300, 32, seed=1), random_features(1200, 32, seed=2)
    options = {"rng_seed": 7, "verbose": False}
    theirs = kid_features_to_metric(a, b, kid_subsets=100, kid_subset_size=1000, **options)
    ours = kernel_distance(a, b, seed=7)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"])
    whole = kid_features_to_metric(a[:50], b[:50], kid_subsets=1, kid_subset_size=50, **options)
    expected = whole["kernel_inception_distance_mean"]
    assert kernel_distance(a[:50], b[:50], seed=1) == pytest.approx(expected, rel=1e-4)


def test_precision_and_recall_are_torch_fidelitys_on_the_same_features():
    a, b = random_features(700, 16, seed=1), 1.2 * random_features(600, 16, seed=2)
    theirs = prc_features_to_metric(a, b, verbose=False)
    assert precision_recall(a, b) == pytest.approx((theirs["precision"], theirs["recall"]))
    assert 0.2 < theirs["precision"] < 0.95


def test_the_score_is_torch_fidelitys_on_the_same_logits():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(1003, 40, generator=generator)
    expected = isc_features_to_metric(logits, splits=10, shuffle=False)["inception_score_mean"]
    for size in (64, 7, 1003):
        score = Score(len(logits), 10)
        for part in logits.split(size):
            score.add(part)
        assert score.value() == pytest.approx(expected, rel=1e-9)
    few = Score(4, 10)
    few.add(logits[:4])
    assert few.value() == pytest.approx(1), "each image is a part of its own"


def test_the_score_is_the_number_of_certain_classes():
    score = Score(10_000, 10)
    score.add(50 * torch.eye(10).repeat(1000, 1))
    assert score.value() == pytest.approx(10, rel=0.02)
    uncertain = Score(100, 10)
    uncertain.add(torch.zeros(100, 10))
    assert uncertain.value() == pytest.approx(1)


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
    kernel = kernel_distance(a.kept, b.kept)
    assert kernel == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3, abs=1e-4)
    assert precision_recall(a.kept, b.kept) == pytest.approx(
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
        kernel[name] = kernel_distance(features.kept, real.kept)
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


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match="2 images"):
        _ = gathered([torch.zeros(1, 4)], 1).statistics
    with pytest.raises(UserError, match="2 images"):
        kernel_distance(torch.zeros(1, 4), torch.zeros(9, 4))
    with pytest.raises(UserError, match="more than 3"):
        precision_recall(torch.zeros(3, 4), torch.zeros(9, 4))
