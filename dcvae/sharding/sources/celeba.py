"""CelebA, from its folder of images and its list of partitions."""

import re
from collections.abc import Iterator
from pathlib import Path

from dcvae.errors import UserError
from dcvae.sharding.sources.base import Item, Loaded, Source
from dcvae.shards.encodings import BadImage

LISTS = ("list_eval_partition.txt", "list_eval_partition.csv")
_PARTS = {"0": "train", "1": "validation", "2": "test"}


class CelebA(Source):
    """Aligned CelebA: 162,770 images for training and 19,962 for testing, 178x218 pixels. The
    validation images are left out, as in the paper.

    Raises:
        UserError: the list of partitions is missing or invalid.
    """

    def __init__(self, uri: str, root: Path, _: str) -> None:
        self.uri, self.name = uri, "celeba"
        folder = root / "celeba"
        self._list = next((folder / n for n in LISTS if (folder / n).is_file()), folder / LISTS[0])
        images = folder / "img_align_celeba"
        inner = images / images.name  # some archives nest the folder
        self._images = inner if inner.is_dir() else images

    def items(self, split: str) -> Iterator[Item]:
        for name, part in self._parts():
            if part == split:
                yield Item(name, "published", None, name)

    def load(self, item: Item) -> Loaded:
        try:
            return (self._images / Path(item.name).name).read_bytes()
        except OSError as error:
            raise BadImage(f"unreadable ({error.strerror})") from error

    def _parts(self) -> Iterator[tuple[str, str]]:
        """(image, partition): two columns separated by blanks, tabs or commas; maybe a header."""
        try:
            with self._list.open(encoding="utf-8-sig") as lines:
                for number, line in enumerate(lines, 1):
                    cells = re.split(r"[\s,;]+", line.strip())
                    if cells == [""] or (number == 1 and cells[-1].lower() == "partition"):
                        continue
                    if len(cells) != 2 or cells[1] not in _PARTS:
                        raise UserError(
                            f"{self._list}, line {number}: no image and its part, such as "
                            "000001.jpg 0"
                        )
                    yield cells[0], _PARTS[cells[1]]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self._list} cannot be read: {error}") from error
