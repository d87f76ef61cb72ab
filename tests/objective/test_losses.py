"""Each loss term against a slow NumPy version and closed forms."""

import math

import numpy as np
import pytest
import torch

from dcvae.objective import gan
from dcvae.objective.instance import info_nce, instance_accuracy, instance_logits
from dcvae.objective.kl import kl_divergence
from dcvae.objective.reconstruction import feature_loss, pixel_loss


def unit(n: int, d: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=1)


def test_kl_is_zero_at_the_prior_and_counts_nats() -> None:
    assert kl_divergence(torch.zeros(3, 5), torch.zeros(3, 5)) == 0
    # KL(N(m, 1) || N(0, 1)) = m²/2 in each dimension.
    assert float(kl_divergence(torch.full((3, 5), 2.0), torch.zeros(3, 5))) == pytest.approx(10)


def test_kl_matches_numpy_and_does_not_depend_on_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn(2, 7, 4, generator=generator, dtype=torch.float64)
    expected = 0.0
    for m, v in zip(mu.numpy(), logvar.numpy(), strict=True):
        for i in range(4):
            expected += 0.5 * (m[i] ** 2 + math.exp(v[i]) - 1 - v[i])
    assert float(kl_divergence(mu, logvar)) == pytest.approx(expected / 7)
    twice = kl_divergence(mu.repeat(2, 1), logvar.repeat(2, 1))
    torch.testing.assert_close(twice, kl_divergence(mu, logvar))


def test_info_nce_matches_numpy() -> None:
    queries, keys, negatives = unit(5, 16, 1), unit(5, 16, 2), unit(9, 16, 3)
    total = 0.0
    for q, k in zip(queries.numpy(), keys.numpy(), strict=True):
        h = np.array([q @ k, *(q @ n for n in negatives.numpy())]) / 0.07
        total -= h[0] - np.log(np.exp(h - h.max()).sum()) - h.max()
    logits = instance_logits(queries, keys, negatives, 0.07)
    assert float(info_nce(logits)) == pytest.approx(total / 5)


def test_info_nce_of_equal_embeddings_is_the_log_of_the_candidates() -> None:
    same = unit(1, 16, 1)
    logits = instance_logits(same.repeat(4, 1), same.repeat(4, 1), same.repeat(31, 1), 0.07)
    assert float(info_nce(logits)) == pytest.approx(math.log(32))


def test_info_nce_without_negatives_is_zero_and_pulls_nothing() -> None:
    queries = unit(4, 16, 1).requires_grad_()
    loss = info_nce(instance_logits(queries, unit(4, 16, 2), torch.zeros(0, 16), 0.07))
    loss.backward()
    assert loss == 0
    assert queries.grad is not None
    assert not queries.grad.any()


def test_only_queries_get_a_gradient() -> None:
    queries, keys = unit(3, 8, 1).requires_grad_(), unit(3, 8, 2).requires_grad_()
    info_nce(instance_logits(queries, keys, unit(5, 8, 3), 0.07)).backward()
    assert keys.grad is None
    assert queries.grad is not None
    assert queries.grad.abs().sum() > 0


def test_accuracy_counts_keys_above_every_negative() -> None:
    logits = torch.tensor([[3.0, 1, 2], [0, 1, 0], [5, 4, 5.5], [9, 1, 1]])
    assert instance_accuracy(logits) == 0.5


def test_hinge_by_hand() -> None:
    real, rec, sample = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0]), torch.tensor([0.0])
    # reals: (0 + 1) / 2; reconstructions: (0 + 2) / 2; samples: 1.
    assert float(gan.hinge_discriminator(real, rec, sample)) == pytest.approx(0.5 + 0.5 + 0.5)
    assert float(gan.generator_loss(rec, sample)) == pytest.approx(0.25)


def test_wasserstein_by_hand() -> None:
    real, rec, sample = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0]), torch.tensor([4.0])
    loss = gan.wasserstein_discriminator(real, rec, sample, drift=0.1)
    assert float(loss) == pytest.approx(-0.25 + 2 - 1 + 0.1 * 2)


def test_mixtures_alternate_between_the_two_fakes_by_number_in_the_global_batch() -> None:
    real, rec, sample = torch.zeros(4, 1, 2, 2), torch.ones(4, 1, 2, 2), -torch.ones(4, 1, 2, 2)
    epsilon = torch.tensor([1.0, 1.0, 0.5, 0.0])
    mixed = gan.mixtures(real, rec, sample, epsilon, first=3)
    assert mixed[:, 0, 0, 0].tolist() == [-1.0, 1.0, -0.5, 0.0]
    assert mixed.is_leaf
    assert mixed.requires_grad


def test_gradient_penalty_of_a_linear_critic_is_known() -> None:
    mixture = torch.randn(3, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([3.0, 0, 4.0, 0], dtype=torch.float64, requires_grad=True)
    penalty = gan.gradient_penalty(mixture, mixture.flatten(1) @ weight)
    assert float(penalty) == pytest.approx((5 - 1) ** 2)
    penalty.backward()
    # d(‖w‖ − 1)² / dw = 2 (‖w‖ − 1) w / ‖w‖
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, 2 * 4 * weight.detach() / 5)


def test_gradient_penalty_differentiates_twice() -> None:
    def penalty(weight: torch.Tensor) -> torch.Tensor:
        x = torch.linspace(-1, 1, 8, dtype=torch.float64).view(2, 1, 2, 2).requires_grad_()
        return gan.gradient_penalty(x, torch.tanh(x.flatten(1) @ weight).sum(1))

    weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, (weight,))


def test_reconstruction_losses_are_mean_squares() -> None:
    x, y = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 3.0)
    assert pixel_loss(x, y) == 9
    assert feature_loss(x, y) == 9
