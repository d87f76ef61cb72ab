"""The stream: what a model sees, whatever the ranks, workers and restarts."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcvae.errors import UserError
from dcvae.sharding.shard import shard
from dcvae.storage import open_storage
from dcvae.streaming.stream import Batch, Stream, read_split
from tests.conftest import ShardSet
from tests.painted import Painted

ORDER = Painted(1000).order("train")


def take(source: ShardSet, count: int, position: int, batch: int, rank: int = 0, world: int = 1,
         **options: int) -> list[Batch]:  # fmt: skip
    stream = Stream(*source, **{"resolution": 8, "seed": 1, **options})
    try:
        return list(islice(stream.batches(position, batch, rank, world), count))
    finally:
        stream.close()


def numbers(batch: Batch) -> list[int]:
    """What the pixels say."""
    values = batch.images.to(torch.int64)
    assert (values[:, 0] == values[:, 0, :1, :1]).all()
    assert (values[:, 1:] == values[:, 1:2, :1, :1]).all()
    return (values[:, 0, 0, 0] * 256 + values[:, 1, 0, 0]).tolist()


def test_images_are_what_the_indices_say(painted: ShardSet) -> None:
    for batch in take(painted, 40, 0, 50):
        assert batch.images.shape == (50, 3, 8, 8)
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous()
        expected = [ORDER[n] for n in batch.indices.tolist()]
        assert numbers(batch) == expected
        assert batch.labels is not None
        assert batch.labels.tolist() == [n % 7 for n in expected]


def test_each_sample_once_an_epoch(painted: ShardSet) -> None:
    seen = [n for batch in take(painted, 60, 0, 50) for n in batch.indices.tolist()]
    for epoch in range(3):
        assert sorted(seen[1000 * epoch : 1000 * (epoch + 1)]) == list(range(1000))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    world=st.integers(1, 8),
    per_rank=st.integers(1, 9),
    workers=st.integers(1, 4),
    position=st.integers(0, 2500),
    stop=st.integers(1, 6),
)
def test_global_batches_do_not_depend_on_ranks_workers_or_restarts(
    painted: ShardSet, world: int, per_rank: int, workers: int, position: int, stop: int
) -> None:
    batch = world * per_rank
    whole = take(painted, 8, position, batch, workers=1)
    ranks = [take(painted, 8, position, batch, rank, world, workers=workers)
             for rank in range(world)]  # fmt: skip
    for k in range(8):
        together = torch.cat([parts[k].images for parts in ranks])
        assert torch.equal(together, whole[k].images)
        assert whole[k].position == ranks[-1][k].position == position + k * batch
    resumed = take(painted, 8 - stop, position + stop * batch, batch, workers=workers)
    for again, before in zip(resumed, whole[stop:], strict=True):
        assert torch.equal(again.images, before.images)
        assert torch.equal(again.indices, before.indices)


def test_another_batch_size_goes_on_with_the_next_sample(painted: ShardSet) -> None:
    first = [n for b in take(painted, 5, 0, 40) for n in b.indices.tolist()]
    rest = [n for b in take(painted, 50, 200, 16) for n in b.indices.tolist()]
    assert sorted(first + rest) == list(range(1000))


@pytest.mark.parametrize("resolution", [4, 8])
def test_all_resolutions_hold_the_same_samples(painted: ShardSet, resolution: int) -> None:
    for batch in take(painted, 3, 777, 32, resolution=resolution):
        assert batch.images.shape[-2:] == (resolution, resolution)
        assert numbers(batch) == [ORDER[n] for n in batch.indices.tolist()]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_is_read_in_order(painted: ShardSet, split: str) -> None:
    batches = list(read_split(*painted, split, 8, 150))
    total = painted.manifest.samples(split)
    assert [n for b in batches for n in numbers(b)] == Painted(1000).order(split)
    assert [len(b.images) for b in batches[:-1]] == [150] * (len(batches) - 1)
    assert len(batches[-1].images) == total % 150 or 150


def test_grey_images_without_labels(tmp_path) -> None:  # type: ignore[no-untyped-def]
    manifest = shard(Painted(20, channels=1, labelled=False), str(tmp_path), resolution=8)
    (batch,) = take(ShardSet(open_storage(str(tmp_path)), manifest), 1, 0, 20)
    assert batch.images.shape == (20, 1, 8, 8)
    assert batch.labels is None
    assert manifest.classes is None


@pytest.mark.parametrize(("resolution", "lossless"), [(256, False), (256, True), (128, False)])
def test_encoded_images_come_back(tmp_path, resolution: int, lossless: bool) -> None:  # type: ignore[no-untyped-def]
    source = Painted(6, side=resolution)
    manifest = shard(source, str(tmp_path), resolution=resolution, lossless=lossless)
    (batch,) = read_split(open_storage(str(tmp_path)), manifest, "train", resolution, 10)
    items = list(source.items("train"))
    wanted = np.stack([source.load(items[n]) for n in source.order("train")])
    error = np.abs(batch.images.permute(0, 2, 3, 1).numpy().astype(int) - wanted)
    assert error.max() <= (0 if lossless or resolution == 128 else 2)


def test_ranks_that_do_not_divide_the_batch_are_refused(painted: ShardSet) -> None:
    with pytest.raises(UserError, match="a batch of 32 cannot be shared by 3 ranks"):
        take(painted, 1, 0, 32, 0, 3)


def test_a_closed_stream_ends(painted: ShardSet) -> None:
    stream = Stream(*painted, resolution=8, seed=1)
    batches = stream.batches(0, 10)
    next(batches)
    stream.close()
    assert len(list(batches)) <= 5  # what was ready


def test_resuming_reads_only_what_is_ahead(painted: ShardSet) -> None:
    """Each lane needs its present shard and the one after it, wherever the stream begins."""
    from dcvae.shards import reader as shard_reader

    for position in (0, 480, 999):
        before = shard_reader.SHARDS._value.get()
        take(painted, 1, position, 8)
        assert shard_reader.SHARDS._value.get() - before <= 2 * 8 + 8
