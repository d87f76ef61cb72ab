"""The order of a set: random by name, whatever the source's."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcvae.environment import SPILL_BYTES
from dcvae.errors import UserError
from dcvae.sharding.ledger import Ledger
from dcvae.sharding.shard import shard
from dcvae.sharding.sources import Item
from dcvae.sharding.sources.base import Loaded, name_hash
from dcvae.storage import open_storage
from dcvae.streaming.stream import read_split
from tests.painted import OPTIONS, Painted
from tests.sharding.test_shard import contents


class ByClass(Painted):
    """All of one class before all of the next."""

    def items(self, split: str) -> Iterator[Item]:
        for item in super().items(split):
            yield item._replace(label=item.reference * 7 // self.count)


def test_a_source_in_order_of_class_is_mixed_in_every_shard(tmp_path: Path) -> None:
    manifest = shard(ByClass(1400), str(tmp_path), resolution=8, samples_per_shard=200)
    for batch in read_split(open_storage(str(tmp_path)), manifest, "train", 4, 200):
        assert batch.labels is not None
        counts = np.bincount(batch.labels.numpy(), minlength=7)
        assert counts.min() >= 12  # 28.6 expected, 4.9 a standard deviation
        assert counts.max() <= 48
        groups = batch.labels.numpy().reshape(-1, 4)
        assert (groups == groups[:, :1]).all(1).mean() < 0.1


def test_the_order_is_that_of_the_names_hashes(tmp_path: Path) -> None:
    for n in range(40):
        Image.new("L", (8, 8), n).save(tmp_path / f"{n}.png")
    manifest = shard(str(tmp_path), str(tmp_path / ".set"), **OPTIONS)
    (batch,) = read_split(open_storage(str(tmp_path / ".set")), manifest, "train", 8, 99)
    found = [f"{n}.png" for n in batch.images[:, 0, 0, 0].tolist()]
    assert found == sorted(found, key=name_hash)


class Streamed(ByClass):
    """Can only be read from front to back, as image files; counts how often that is begun."""

    ordered = True

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.last, self.begun = count, 0

    def items(self, split: str) -> Iterator[Item]:
        for item in super().items(split):
            yield item._replace(size=100)

    def load(self, item: Item) -> Loaded:
        number = item.reference
        self.begun += number <= self.last
        self.last = number
        if number == 13:
            return b"no image"
        return png(number)


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number // 256, number % 256, number % 256)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("most", [None, 5000, 1])
def test_a_source_for_reading_in_order_is_read_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int | None, workers: int
) -> None:
    """Each of the rounds, which the room on the disk sets, begins at the front once a split."""
    if most is not None:
        monkeypatch.setenv(SPILL_BYTES, str(most))
    source = Streamed(100)
    told: list[str] = []
    manifest = shard(
        source, str(tmp_path / "set"), **OPTIONS, max_bad_fraction=0.1, workers=workers,
        progress=lambda done, total, what: told.append(what),
    )  # fmt: skip
    rounds = {None: 2, 5000: 4, 1: 7 + 2}[most]
    assert source.begun == rounds
    assert "reading painted" in told
    assert [s.name for s in manifest.skipped] == ["train-13", "test-13"]
    source.ordered = False
    unspilt = shard(source, str(tmp_path / "again"), **OPTIONS, max_bad_fraction=0.1)
    assert unspilt.splits == manifest.splits
    assert contents(open_storage(str(tmp_path / "set"))) == contents(
        open_storage(str(tmp_path / "again"))
    )


def test_a_budget_that_is_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SPILL_BYTES, "10G")
    with pytest.raises(UserError, match="DCVAE_SPILL_BYTES is '10G': give a number of bytes"):
        shard(Streamed(20), str(tmp_path / "set"), **OPTIONS)


def test_a_ledger_gives_back_what_it_was_given() -> None:
    ledger = Ledger()
    items = [Item(f"ünï{n}", "s", n % 3 or None, ["a", n], "bad" * (n == 4), n) for n in range(9)]
    assert ledger.add("train", items) == 9
    assert ledger.add("test", []) == 0
    assert [i._replace(place=0) for i in ledger.in_order("train")] == items
    assert [i.place for i in ledger.in_order("train")] == list(range(1, 10))
    shuffled = list(ledger.shuffled("train"))
    assert sorted(shuffled, key=lambda i: i.place) == list(ledger.in_order("train"))
    assert [i.name for i in shuffled] == sorted((i.name for i in items), key=name_hash)
    assert list(ledger.shuffled("test")) == []
