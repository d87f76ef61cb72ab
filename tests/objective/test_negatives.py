"""The ring of negatives: nothing lost at the wrap, nothing scored that is not an image."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from dcvae.objective.negatives import NegativeQueue


@given(st.integers(1, 12), st.lists(st.integers(1, 30), max_size=8))
def test_the_queue_is_the_last_keys(size: int, batches: list[int]) -> None:
    queue, pushed = NegativeQueue(size, 2), []
    for n in batches:
        keys = torch.arange(len(pushed), len(pushed) + n).float().unsqueeze(1).expand(n, 2)
        queue.push(keys)
        pushed += keys[:, 0].tolist()
        assert sorted(queue.valid()[:, 0].tolist()) == pushed[-size:]
    assert len(queue.valid()) == min(size, len(pushed))


def test_the_state_goes_on_where_it_was() -> None:
    queue, copy = NegativeQueue(5, 1), NegativeQueue(5, 1)
    queue.push(torch.arange(7.0).unsqueeze(1))
    copy.load_state_dict(queue.state_dict())
    for q in (queue, copy):
        q.push(torch.tensor([[10.0], [11.0]]))
    assert torch.equal(queue.keys, copy.keys)
    assert sorted(copy.valid()[:, 0].tolist()) == [4, 5, 6, 10, 11]


def test_cleared_is_empty() -> None:
    queue = NegativeQueue(5, 1)
    queue.push(torch.ones(3, 1))
    queue.clear()
    assert len(queue.valid()) == 0
