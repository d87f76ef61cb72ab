"""The order: each sample once an epoch, the same for every world size, resumed anywhere."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dcvae.streaming.order import Order, permutation

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=12)
seeds = st.integers(0, 2**32)
lanes = st.integers(1, 9)


def global_batch(order: Order, position: int, size: int) -> list[tuple[int, int]]:
    place = order.batch(position, size)
    return list(zip(place.shards.tolist(), place.samples.tolist(), strict=True))


def in_order_of_position(order: Order, position: int, count: int) -> list[tuple[int, int]]:
    return [global_batch(order, p, 1)[0] for p in range(position, position + count)]


@settings(deadline=None, max_examples=100)
@given(sizes, seeds, lanes, st.integers(0, 3))
def test_each_sample_once_an_epoch(sizes: list[int], seed: int, lanes: int, epoch: int) -> None:
    order = Order(sizes, seed, lanes)
    seen = global_batch(order, epoch * order.total, order.total)
    assert sorted(seen) == [(s, n) for s, size in enumerate(sizes) for n in range(size)]


@settings(deadline=None, max_examples=100)
@given(sizes, seeds, lanes, st.integers(0, 200), st.integers(1, 48))
def test_a_batch_is_its_positions_sorted_by_lane(
    sizes: list[int], seed: int, lanes: int, position: int, batch: int
) -> None:
    order = Order(sizes, seed, lanes)
    one_by_one = in_order_of_position(order, position, batch)
    by_lane = sorted(range(batch), key=lambda i: ((position + i) % order.total % lanes, i))
    assert global_batch(order, position, batch) == [one_by_one[i] for i in by_lane]


def test_the_definition_on_a_small_example() -> None:
    """The words of the module's docstring, element by element."""
    sizes, seed, lanes, epoch = [3, 5, 2], 7, 4, 2
    sequence = [
        (int(shard), int(sample))
        for shard in permutation(3, seed, epoch, 0)
        for sample in permutation(sizes[shard], seed, epoch, 1, int(shard))
    ]
    cut = [sequence[0:3], sequence[3:6], sequence[6:8], sequence[8:10]]
    expected = [cut[p % lanes][p // lanes] for p in range(10)]
    assert in_order_of_position(Order(sizes, seed, lanes), 10 * epoch, 10) == expected


@settings(deadline=None, max_examples=60)
@given(sizes, seeds, lanes)
def test_epochs_and_seeds_differ_and_repeat(sizes: list[int], seed: int, lanes: int) -> None:
    total = sum(sizes)
    order = Order(sizes, seed, lanes)
    assert global_batch(order, 0, 3 * total) == global_batch(
        Order(sizes, seed, lanes), 0, 3 * total
    )
    if total > 20:
        first, second = global_batch(order, 0, total), global_batch(order, total, total)
        assert first != second
        assert first != global_batch(Order(sizes, seed + 1, lanes), 0, total)


def test_the_order_is_the_one_that_runs_have_begun_with() -> None:
    """A change here breaks the resumption of every run that exists."""
    assert permutation(8, 1, 2, 3).tolist() == [1, 3, 7, 5, 2, 0, 4, 6]


@settings(deadline=None, max_examples=60)
@given(sizes, seeds, lanes, st.integers(0, 300))
def test_a_lane_is_told_which_shard_comes_next(
    sizes: list[int], seed: int, lanes: int, position: int
) -> None:
    order = Order(sizes, seed, lanes)
    here = order.batch(position, 1)
    lane, epoch, slot = (int(v[0]) for v in (here.lanes, here.epochs, here.slots))
    following = order.next_shard(lane, epoch, slot)
    for later in range(position + 1, position + 2 * order.total + 1):
        there = order.batch(later, 1)
        if there.lanes[0] == lane and (there.epochs[0], there.slots[0]) != (epoch, slot):
            assert there.shards[0] == following
            return
    raise AssertionError("the lane never goes on")


def test_a_rank_touches_few_shards() -> None:
    order = Order([100] * 64, 3, 8)
    halves = [set(), set()]  # type: list[set[int]]
    for k in range(100):
        shards = order.batch(32 * k, 32).shards
        halves[0] |= set(shards[:16].tolist())
        halves[1] |= set(shards[16:].tolist())
    assert len(halves[0] & halves[1]) <= 1
    assert np.bincount(order.batch(0, 64).lanes).tolist() == [8] * 8
