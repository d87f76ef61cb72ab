"""Labels in a file beside the images: CSV, or the dataset.json of StyleGAN's tools."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from dcvae.errors import UserError
from dcvae.sharding.scratch import disk_errors, scratch

MAX_BYTES = 1 << 30
MOST_CLASSES = 100_000
_FILE_COLUMNS = ("file", "filename", "file_name", "image", "path", "img", "name", "id", "image_id")
_LABEL_COLUMNS = ("label", "class", "category", "target", "class_name")


class Labels:
    """Labels by file, on the local disk.

    An image is found by its path below the source, or below the folder that holds everything; or by
    its name alone, if the file of labels has no folders. Suffixes may be missing.

    Raises:
        UserError: the file is not a valid list of labels.
    """

    def __init__(self, uri: str, body: bytes) -> None:
        if len(body) > MAX_BYTES:
            raise UserError(f"{uri} is larger than {MAX_BYTES >> 30} GiB, too large for labels")
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{uri} is not UTF-8 text ({error.reason}): save it as UTF-8") from None
        self.uri, self._folders = uri, False
        self._db = scratch()
        self._db.execute("CREATE TABLE labels (file TEXT PRIMARY KEY, label TEXT, image TEXT)")
        pairs = _of_json(uri, text) if text.lstrip()[:1] in ("{", "[") else _of_csv(uri, text)
        self.empty = pairs is None
        for file, label in pairs or ():
            self._add(file.removeprefix("./"), label)
        self.classes = [] if self.empty else self._classes()
        self._numbers = {name: number for number, name in enumerate(self.classes)}

    def find(self, path: str, wrapper: str) -> int | None:
        """The class number of the image at ``path``.

        Raises:
            UserError: the same entry already matched another image.
        """
        inner = path.removeprefix(f"{wrapper}/") if wrapper else path
        wanted = [path, inner]
        if not self._folders:
            wanted.append(PurePosixPath(path).name)
        wanted += [str(PurePosixPath(name).with_suffix("")) for name in wanted]
        for name in dict.fromkeys(wanted):
            with disk_errors():
                row = self._db.execute(
                    "SELECT label, image FROM labels WHERE file = ?", (name,)
                ).fetchone()
            if row is None:
                continue
            if row[1] not in (None, path):
                raise UserError(f"{self.uri} means {row[1]} and {path} by {name}: give their paths")
            if row[1] is None:
                self._db.execute("UPDATE labels SET image = ? WHERE file = ?", (path, name))
            return self._numbers[row[0]]
        return None

    def unused(self) -> tuple[int, str]:
        """(how many entries match no image, one of them)."""
        query = "SELECT count(*), min(file) FROM labels WHERE image IS NULL"
        count, example = self._db.execute(query).fetchone()
        return int(count), example or ""

    def _add(self, file: str, label: str) -> None:
        with disk_errors():
            before = self._db.execute("SELECT label FROM labels WHERE file = ?", (file,)).fetchone()
            if before is None:
                self._db.execute("INSERT INTO labels VALUES (?, ?, NULL)", (file, label))
            elif before[0] != label:
                raise UserError(f"{self.uri} gives {file} two labels: {before[0]} and {label}")
        self._folders |= "/" in file

    def _classes(self) -> list[str]:
        names = [row[0] for row in self._db.execute("SELECT DISTINCT label FROM labels")]
        if not names:
            raise UserError(f"{self.uri} has no labels")
        if len(names) > MOST_CLASSES:
            raise UserError(f"{self.uri} has {len(names):,} different labels: too many for classes")
        return in_class_order(names)


def in_class_order(names: list[str]) -> list[str]:
    """Sorted: by value if all are numbers, else by name."""
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name), name) if numbers else (0, name))


def _of_json(uri: str, text: str) -> Iterator[tuple[str, str]] | None:
    """The pairs of StyleGAN's dataset.json, or of a JSON object {file: label}."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{uri} is not valid JSON ({error})") from None
    pairs: Any = content
    if isinstance(content, dict):
        if "labels" not in content:
            pairs = list(content.items())
        elif content["labels"] is None:
            return None
        else:
            pairs = content["labels"]
    if isinstance(pairs, dict):
        pairs = list(pairs.items())
    if not isinstance(pairs, list):
        raise UserError(f'{uri} is no list of labels: write {{"labels": [["a.png", 0], …]}}')
    return _checked(uri, pairs)


def _checked(uri: str, pairs: list[Any]) -> Iterator[tuple[str, str]]:
    for pair in pairs:
        file, label = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (None, None)
        plain = isinstance(label, int | str) and not isinstance(label, bool)
        if not isinstance(file, str) or not file or not plain or label == "":
            raise UserError(
                f"{uri} has the entry {json.dumps(pair)[:80]}: each must be a file and the number "
                "or name of one class"
            )
        yield file, str(label)


def _of_csv(uri: str, text: str) -> Iterator[tuple[str, str]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    if delimiter not in first:
        raise UserError(f"{uri} has no columns: write one line for each image, file,label")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns: tuple[int, int] | None = None
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if columns is None:
                columns, is_head = _columns(uri, row)
                if is_head:
                    continue
            if len(row) <= max(columns) or not row[columns[0]].strip():
                raise UserError(f"{uri}, line {rows.line_num}: no file and label")
            label = row[columns[1]].strip()
            if not label:
                raise UserError(f"{uri}, line {rows.line_num}: no label")
            yield row[columns[0]].strip(), label
    except csv.Error as error:
        raise UserError(f"{uri}, line {rows.line_num}: {error}") from None


def _columns(uri: str, row: list[str]) -> tuple[tuple[int, int], bool]:
    """((column of the file, of the label), whether this row is a header)."""
    names = [cell.strip().lower() for cell in row]
    file = next((names.index(n) for n in _FILE_COLUMNS if n in names), None)
    label = next((names.index(n) for n in _LABEL_COLUMNS if n in names), None)
    if len(row) == 2:
        if label is not None or file is not None:
            return ((1, 0) if label == 0 or file == 1 else (0, 1)), True
        return (0, 1), False
    if file is None or label is None:
        raise UserError(
            f"{uri} has {len(row)} columns: keep two, or call them file and label in the first line"
        )
    return (file, label), True
