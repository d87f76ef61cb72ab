"""Existing WebDataset tars: samples whose members share a key.

The package ``webdataset`` decides which tars a pattern names and where a key ends. We read the tars
ourselves, through our storage: its reader takes a damaged header or a truncated file for the end of
the tar, opens URLs with a shell, and reads whole members that only have to be found. Only images
and labels are decoded.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from webdataset.shardlists import expand_urls
from webdataset.tariterators import base_plus_ext

from dcvae.errors import UserError
from dcvae.sharding.scratch import disk_errors, scratch
from dcvae.sharding.sources.files import too_large
from dcvae.sharding.sources.hints import Hints
from dcvae.sharding.sources.kinds import is_junk, kind_of, suffixes
from dcvae.sharding.sources.listing import LeftOut
from dcvae.sharding.sources.pieces import Piece, PieceSource, Row, find_pieces
from dcvae.shards.encodings import BadImage

_LABEL_BYTES = 64 << 10
_LABEL_FIELDS = ("label", "class", "cls", "target", "class_name")
_SUFFIXES = 8  # with more different suffixes, the keys must contain dots
_CHUNK = 1 << 20


def open_tars(uri: str, pattern: str, hints: Hints) -> "Tars":
    """The source of the tars that ``pattern`` names: files, brace ranges, or a folder.

    Raises:
        UserError: there are none, or it would take a shell to fetch them.
    """
    if not pattern or pattern.startswith("pipe:"):
        raise UserError(f"{uri} runs a command or names nothing: give tars, a folder or a prefix")
    pieces = find_pieces(uri, expand_urls(pattern), ".tar", hints, pattern)
    name = PurePosixPath(pattern.partition("{")[0].rstrip("-_./")).stem or "webdataset"
    return Tars(uri, pieces, name, hints)


class Tars(PieceSource):
    """Samples in tars."""

    def __init__(self, uri: str, pieces: list[Piece], name: str, hints: Hints) -> None:
        super().__init__(uri, pieces, name, hints)
        self._kinds: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._open: tuple[int, BinaryIO] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_open": None}

    def load(self, item: Any) -> bytes:
        number, offset, size = map(int, item.reference)
        if self._open is None or self._open[0] != number:
            if self._open is not None:
                self._open[1].close()
            piece = self.pieces[number]
            self._open = number, piece.storage.open(piece.key)
        stream = self._open[1]
        stream.seek(offset)
        body = stream.read(size)
        if len(body) != size:
            raise BadImage("cut off in its tar")
        return body

    def left_out(self) -> list[LeftOut]:
        return [LeftOut(k, n, self._examples[k]) for k, n in self._kinds.most_common()]

    def rows(self) -> Iterator[Row]:
        members = _Members()
        for number, piece in enumerate(self.pieces):
            for info, stream in members_of(piece):
                self._note(members, number, piece, info, stream)
        members.group(self.uri, self.hints)
        for number, name, key, offset, size, again in members.images():
            piece = self.pieces[number]
            bad = too_large(size) or ("there twice" if again else "")
            label = members.label(number, key)
            yield Row(piece.split, f"{piece.name}/{name}", f"{size}-{offset}-{piece.stamp}", label,
                      f"{number} {offset} {size}", size, bad)  # fmt: skip

    def _note(
        self, members: "_Members", number: int, piece: Piece, info: tarfile.TarInfo, stream: Any
    ) -> None:
        name = info.name.encode("utf-8", "backslashreplace").decode()
        if info.isdir() or any(is_junk(part) for part in PurePosixPath(name).parts):
            return
        if not info.isreg() or info.issparse():
            self._ignore("links and devices", f"{piece.name}/{name}")
            return
        suffix = PurePosixPath(name).suffix.lower()
        wanted = (self.hints.image or "").lstrip(".").lower()
        if suffix in suffixes() or (wanted and name.lower().endswith(f".{wanted}")):
            members.add_image(number, name, info.offset_data, info.size)
        elif self._says_label(name) and info.size <= _LABEL_BYTES:
            stream.seek(info.offset_data)
            label = self._label(f"{piece.uri}: {name}", stream.read(info.size))
            if label is not None:
                members.add_label(number, name, label)
        else:
            self._ignore(kind_of(name), f"{piece.name}/{name}")

    def _ignore(self, kind: str, example: str) -> None:
        self._kinds[kind] += 1
        self._examples.setdefault(kind, example)

    def _says_label(self, name: str) -> bool:
        wanted, suffix = self.hints.labels, PurePosixPath(name).suffix.lower()
        if wanted is None:
            return suffix in (".cls", ".json")
        return suffix == "." + wanted.lstrip(".").lower().partition(".")[0]

    def _label(self, where: str, body: bytes) -> str | None:
        try:
            text = body.decode("utf-8-sig").strip()
            if not where.lower().endswith(".json"):
                return text or None
            content = json.loads(text)
        except ValueError as error:
            raise UserError(f"{where} is no label: {' '.join(str(error).split())[:80]}") from None
        field = (self.hints.labels or "").lstrip(".").partition(".")[2]
        named = content
        if isinstance(content, dict):
            fields = (field,) if field else _LABEL_FIELDS
            named = next((content[name] for name in fields if name in content), None)
        plain = isinstance(named, int | str) and not isinstance(named, bool)
        return str(named) if plain else None


class _Members:
    """Images and labels of all tars, on the local disk."""

    def __init__(self) -> None:
        self._db = scratch()
        self._db.execute("CREATE TABLE images (piece, name, key, offset, size)")
        self._db.execute("CREATE TABLE labels (piece, key, label, PRIMARY KEY (piece, key))")
        self._dotted, self._tail = False, ""

    def add_image(self, piece: int, name: str, offset: int, size: int) -> None:
        with disk_errors():
            self._db.execute(
                "INSERT INTO images VALUES (?, ?, NULL, ?, ?)", (piece, name, offset, size)
            )

    def add_label(self, piece: int, name: str, label: str) -> None:
        """A .cls member takes precedence over a .json one."""
        stem, _, suffix = name.rpartition(".")
        how = "OR IGNORE" if suffix.lower() == "json" else "OR REPLACE"
        with disk_errors():
            self._db.execute(f"INSERT {how} INTO labels VALUES (?, ?, ?)", (piece, stem, label))

    def group(self, uri: str, hints: Hints) -> None:
        """Find out where keys end, so that each sample has one image.

        Raises:
            UserError: samples have several images, and no hint says which one to use.
        """
        if hints.image:
            self._tail = "." + hints.image.lstrip(".").lower()
        else:
            ends: Counter[str] = Counter()
            for (name,) in self._db.execute("SELECT name FROM images"):
                ends[_split(name)[1]] += 1
                if len(ends) > _SUFFIXES:
                    break
            self._dotted = len(ends) > _SUFFIXES
        with disk_errors():
            self._db.create_function("key_of", 1, self._key, deterministic=True)
            self._db.execute("UPDATE images SET key = key_of(name)")
            self._db.execute("DELETE FROM images WHERE key IS NULL")
            self._db.execute("CREATE INDEX by_key ON images (piece, key)")
        several = self._db.execute(
            "SELECT group_concat(DISTINCT name) FROM images GROUP BY piece, key "
            "HAVING count(DISTINCT name) > 1 LIMIT 1"
        ).fetchone()
        if several:
            names = sorted(several[0].split(","))[:4]
            raise UserError(
                f"{uri} has samples of several images, such as {', '.join(names)}: say which with "
                f"--image {_split(names[0])[1]}; if each is a sample of its own, with dots in its "
                f"key, say --image {names[0].rpartition('.')[2].lower()}"
            )

    def images(self) -> Iterator[tuple[int, str, str, int, int, bool]]:
        """(tar, name, key, offset, size, whether the tar has an earlier one of that name)."""
        query = (
            "SELECT piece, name, key, offset, size, EXISTS (SELECT 1 FROM images AS before WHERE "
            "before.piece = images.piece AND before.key = images.key AND before.rowid < "
            "images.rowid) FROM images ORDER BY rowid"
        )
        with disk_errors():
            yield from self._db.execute(query)

    def label(self, piece: int, key: str) -> str | None:
        """The label of the sample ``key`` or, if that has dots, of what precedes the first one."""
        for wanted in dict.fromkeys((key, _split(key)[0])):
            row = self._db.execute(
                "SELECT label FROM labels WHERE piece = ? AND key = ?", (piece, wanted)
            ).fetchone()
            if row:
                return str(row[0])
        return None

    def _key(self, name: str) -> str | None:
        if self._tail:
            return name[: -len(self._tail)] if name.lower().endswith(self._tail) else None
        return name.rpartition(".")[0] if self._dotted else _split(name)[0]


def _split(name: str) -> tuple[str, str]:
    """(key, suffix) as in webdataset: the suffix starts at the first dot of the file name."""
    key, suffix = base_plus_ext(name)
    return (name, "") if key is None else (key, suffix.lower())


def members_of(piece: Piece) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    """The members of a tar, each with the stream that it is in.

    Raises:
        UserError: the file is not a tar, or is damaged or cut off anywhere.
    """
    stream = piece.storage.open(piece.key)
    with stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    yield info, stream
                    tar.members.clear()  # type: ignore[attr-defined]
                _check_end(piece, stream, tar.offset)
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise UserError(
                f"{piece.uri} is no plain tar, or damaged ({error}): get it again, or unpack it if "
                "it is compressed"
            ) from error


def _check_end(piece: Piece, stream: BinaryIO, offset: int) -> None:
    """Check that only zeros follow the last member, and that some do: tarfile silently stops at an
    invalid header."""
    stream.seek(offset)
    zeros = 0
    while chunk := stream.read(_CHUNK):
        if chunk.count(0) != len(chunk):
            raise UserError(f"{piece.uri} is damaged at byte {offset:,}: get it again")
        zeros += len(chunk)
    if zeros < tarfile.BLOCKSIZE:
        raise UserError(f"{piece.uri} is cut off after {offset:,} bytes: get it again")
