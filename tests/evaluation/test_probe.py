"""The linear probe: perfect on separable latents, chance on noise."""

import math

import pytest
import torch

from dcvae.errors import UserError
from dcvae.evaluation.probe import probe


def labels(count: int, classes: int, seed: int) -> torch.Tensor:
    return torch.randint(0, classes, (count,), generator=torch.Generator().manual_seed(seed))


def test_separable_latents_are_read_perfectly():
    y, y_test = labels(400, 4, 0), labels(200, 4, 1)
    corners = 10 * torch.eye(4, 8)
    noise = torch.randn(600, 8, generator=torch.Generator().manual_seed(2))
    result = probe(corners[y] + noise[:400], y, corners[y_test] + noise[400:], y_test, classes=4)
    assert result.errors == (0.0,) * 5
    assert result.ci95 == 0
    assert torch.equal(torch.from_numpy(result.confusion), 5 * torch.bincount(y_test).diag())


def test_noise_is_chance():
    noise = torch.randn(3000, 8, generator=torch.Generator().manual_seed(0))
    y, y_test = labels(2000, 4, 1), labels(1000, 4, 2)
    result = probe(noise[:2000], y, noise[2000:], y_test, classes=4)
    assert result.mean == pytest.approx(0.75, abs=0.05)
    assert 0 < result.ci95 < 0.05


def test_the_interval_is_students():
    y = labels(200, 2, 0)
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(1)) + y[:, None]
    result = probe(x, y, x, y, classes=2, seed=3)
    spread = torch.tensor(result.errors, dtype=torch.float64).std()
    assert result.ci95 == pytest.approx(2.776 * float(spread) / math.sqrt(5), rel=1e-3)
    assert len(probe(x, y, x, y, classes=2, trials=3).errors) == 3
    assert result.errors == probe(x, y, x, y, classes=2, seed=3).errors


def test_one_class_is_refused():
    zeros = torch.zeros(10, dtype=torch.int64)
    with pytest.raises(UserError, match="of one class"):
        probe(torch.randn(10, 2), zeros, torch.randn(10, 2), zeros, classes=1)
