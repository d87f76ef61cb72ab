"""New images in a source that is already sharded: its shards are kept, and new ones are added."""

from collections.abc import Iterator

import numpy as np

from dcvae.errors import UserError
from dcvae.sharding.build import content_hash
from dcvae.sharding.ledger import Ledger
from dcvae.sharding.parts import read_record
from dcvae.sharding.plan import Spec, Task, chunks
from dcvae.sharding.sources import Item, Source
from dcvae.sharding.sources.base import name_hash
from dcvae.shards.encodings import BadImage
from dcvae.shards.manifest import Manifest
from dcvae.storage import Storage


class Growth:
    """The images of a source that the set described by ``present`` lacks.

    Compares every image by name and stamp, and by content if only the stamp differs (a copied
    folder). Takes 24 bytes of memory for each image of the set.

    Raises:
        UserError: images of the set are missing from the source or have changed, or the classes
            differ: then it is another data set, not a grown one.
    """

    def __init__(self, storage: Storage, present: Manifest, source: Source, ledger: Ledger) -> None:
        self._uri, self._source, self._present = storage.uri, source, present
        self._ledger = ledger
        old = present.classes
        if old != (source.classes[: len(old)] if old and source.classes else source.classes):
            raise self._other(f"its classes are {old}, those of the source {source.classes}")
        self._firsts: dict[str, int] = {}
        columns = [np.array(column, np.uint64) for column in self._read(storage)]
        by_name = np.argsort(columns[0])
        self._names, self._stamps, self._contents = (column[by_name] for column in columns)
        self.counts = self._compare()

    def tasks(self, spec: Spec, split: str) -> Iterator[Task]:
        """The new images as shards, numbered on from the existing ones."""
        index = self._present.records.get(split, 0)
        return chunks(self._new(split), spec, split, index, self._firsts.get(split, 0))

    def _read(self, storage: Storage) -> tuple[list[int], list[int], list[int]]:
        names: list[int] = []
        stamps: list[int] = []
        contents: list[int] = []
        for split, count in self._present.records.items():
            for index in range(count):
                record = read_record(storage, split, index)
                if record is None:
                    raise UserError(
                        f"{storage.uri} cannot grow: the record of shard {index} of {split} is gone"
                    )
                self._firsts[split] = record.first + len(record.items)
                for name, stamp, content in record.items:
                    names.append(name_hash(name))
                    stamps.append(name_hash(stamp))
                    contents.append(name_hash(content) if content else 0)
        return names, stamps, contents

    def _compare(self) -> dict[str, int]:
        """Count the new images of each split."""
        seen = np.zeros(len(self._names), bool)
        counts = dict.fromkeys(self._source.splits, 0)
        for split in counts:
            for item in self._ledger.in_order(split):
                place = self._find(item)
                if place is None or self._was_bad(place, item):
                    counts[split] += 1
                if place is None:
                    continue
                seen[place] = True
                if self._differs(place, item):
                    raise self._other(f"{item.name} has changed")
        if not seen.all():
            raise self._other(f"{int((~seen).sum())} of its images are gone from the source")
        return counts

    def _new(self, split: str) -> Iterator[Item]:
        for item in self._ledger.shuffled(split):
            place = self._find(item)
            if place is None or self._was_bad(place, item):
                yield item

    def _find(self, item: Item) -> int | None:
        wanted = np.uint64(name_hash(item.name))
        place = int(np.searchsorted(self._names, wanted))
        return place if place < len(self._names) and self._names[place] == wanted else None

    def _was_bad(self, place: int, item: Item) -> bool:
        """Whether it is a repaired image: it was skipped, and has changed since."""
        return bool(self._contents[place] == 0) and self._stamps[place] != name_hash(item.stamp)

    def _differs(self, place: int, item: Item) -> bool:
        if self._stamps[place] == name_hash(item.stamp) or self._contents[place] == 0:
            return False
        try:
            content = content_hash(self._source.load(item))
        except BadImage:
            return True
        return bool(self._contents[place] != name_hash(content))

    def _other(self, what: str) -> UserError:
        return UserError(
            f"{self._uri} holds a shard set of other images ({what}): choose another destination"
        )
