"""What a step asks of an accelerator, counted: few kernels, and the host waits for none of them."""

import torch

from benchmarks.launches import DEVICE, Counter, iteration


def test_an_iteration_with_a_log_line_waits_for_nothing() -> None:
    counted = iteration("cifar10", [])
    assert not counted.waits
    assert counted.copies <= 7, "images, one packet of noise, one summary of the losses"
    assert 1000 < sum(counted.kernels.values()) <= 3500


def test_waits_are_seen() -> None:
    """Otherwise none would be a poor result."""
    x, counter = torch.ones(3, device=DEVICE), Counter()
    with counter:
        x.sum().item()
        x.nonzero()
        torch.empty(3).copy_(x)
        torch.empty(3).copy_(x, non_blocking=True)
    assert dict(counter.waits) == {"_local_scalar_dense": 1, "nonzero": 1, "to the host": 1}
    assert counter.copies == 2
