"""Augmentation: what each number does, alike for equal numbers, differentiable twice."""

import pytest
import torch

from dcvae.objective.augmentation import DRAWS, augment

NEUTRAL = 0.5


def images(n: int, channels: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, channels, side, side, generator=generator, dtype=torch.float64) * 2 - 1


def draws(n: int, **changed: float) -> torch.Tensor:
    names = ["brightness", "saturation", "contrast", "down", "right", "cut_row", "cut_column"]
    assert len(names) == DRAWS
    row = [changed.get(name, 0.0 if name.startswith("cut") else NEUTRAL) for name in names]
    return torch.tensor([row] * n, dtype=torch.float64)


def test_in_the_middle_nothing_changes_but_a_quarter_of_the_corner() -> None:
    x = images(2, 3, 16)
    expected = x.clone()
    expected[:, :, :4, :4] = 0  # half of the square of 8 around the pixel (0, 0), each way
    expected[:, :, 4, :4] = x[:, :, 4, :4]
    torch.testing.assert_close(augment(x, draws(2)), expected)


def test_colour() -> None:
    x = images(1, 3, 8)
    outside = (..., slice(4, None), slice(4, None))
    brighter = augment(x, draws(1, brightness=0.75))
    torch.testing.assert_close(brighter[outside], (x + 0.25)[outside])
    grey = augment(x, draws(1, saturation=0.0))
    torch.testing.assert_close(grey[outside], x.mean(1, keepdim=True).expand_as(x)[outside])
    flat = augment(x, draws(1, contrast=0.0))
    torch.testing.assert_close(flat[outside], ((x + x.mean()) / 2)[outside])


@pytest.mark.parametrize(("draw", "by"), [(0.0, -2), (0.3, -1), (0.99, 2)])
def test_shift_is_an_eighth_of_the_side_at_most_and_fills_with_zero(draw: float, by: int) -> None:
    x = images(1, 1, 16)
    found = augment(x, draws(1, down=draw, cut_row=0.99 if by < 0 else 0.0))
    moved = torch.zeros_like(x)
    if by < 0:
        moved[:, :, -by:] = x[:, :, :by]
        torch.testing.assert_close(found[:, :, :10], moved[:, :, :10])
    else:
        moved[:, :, :-by] = x[:, :, by:]
        torch.testing.assert_close(found[:, :, 6:], moved[:, :, 6:])


def test_equal_numbers_give_equal_augmentations() -> None:
    x = images(1, 3, 8).repeat(2, 1, 1, 1)
    number = torch.rand(1, DRAWS, generator=torch.Generator().manual_seed(1)).repeat(2, 1)
    first, second = augment(x, number)
    assert torch.equal(first, second)


def test_two_derivatives() -> None:
    x = images(2, 3, 4).requires_grad_()
    number = torch.rand(2, DRAWS, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda x: augment(x, number), (x,))
    assert torch.autograd.gradgradcheck(lambda x: augment(x, number).square(), (x,))
