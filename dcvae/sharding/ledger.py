"""All images of a source, listed once: in the source's order, and in the order of a shard set.

A set is ordered by a hash of the images' names: random, yet the same every time. Otherwise a source
sorted by class, as most are, would make batches of one class.
"""

import json
from collections.abc import Iterable, Iterator

from dcvae.sharding.scratch import disk_errors, scratch
from dcvae.sharding.sources.base import Item, name_hash

_COLUMNS = "name, stamp, label, reference, bad, size, rowid"


class Ledger:
    """Images by split, in a private file that SQLite keeps in the temporary folder and removes
    itself, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._db = scratch()
        self._db.execute(
            "CREATE TABLE items (split TEXT, rank INTEGER, name TEXT, stamp TEXT, label INTEGER, "
            "reference TEXT, bad TEXT, size INTEGER)"
        )

    def add(self, split: str, items: Iterable[Item]) -> int:
        """Add ``items``; return how many there are.

        Raises:
            UserError: the temporary folder is full.
        """
        rows = (
            (split, name_hash(i.name) - 2**63, i.name, i.stamp, i.label, json.dumps(i.reference),
             i.bad, i.size)
            for i in items
        )  # fmt: skip
        with disk_errors():
            return self._db.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
            ).rowcount

    def in_order(self, split: str) -> Iterator[Item]:
        """The images of ``split`` in the source's order."""
        return self._select("rowid", split)

    def shuffled(self, split: str) -> Iterator[Item]:
        """The images of ``split`` in the order of a shard set."""
        return self._select("rank, name", split)

    def _select(self, order: str, split: str) -> Iterator[Item]:
        query = f"SELECT {_COLUMNS} FROM items WHERE split = ? ORDER BY {order}"
        with disk_errors():
            for name, stamp, label, reference, bad, size, place in self._db.execute(
                query, (split,)
            ):
                yield Item(name, stamp, label, json.loads(reference), bad, size, place)
