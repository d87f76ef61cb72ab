"""Tables of images in Parquet files, as Hugging Face stores them."""

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from webdataset.shardlists import expand_urls

from dcvae.errors import UserError
from dcvae.sharding.sources.files import too_large
from dcvae.sharding.sources.hints import Hints
from dcvae.sharding.sources.pieces import Piece, PieceSource, Row, find_pieces
from dcvae.shards.encodings import BadImage

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_IMAGES = ("image", "img", "picture", "jpg", "png")
_LABELS = ("label", "labels", "class", "target")
_ROWS = 32  # images in memory at once
_LABEL_ROWS = 65536


def open_tables(uri: str, pattern: str, hints: Hints) -> "Tables":
    """The source of the Parquet files that ``pattern`` names: files, brace ranges, or a folder.

    Raises:
        UserError: there are none, they have no images, or pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UserError("parquet: needs pyarrow: install dcvae[parquet]") from None
    if not pattern:
        raise UserError(f"{uri} names nothing: give Parquet files, a folder or a prefix")
    pieces = find_pieces(uri, expand_urls(pattern), ".parquet", hints, pattern)
    name = PurePosixPath(pattern.partition("{")[0].rstrip("-_./")).stem or "parquet"
    return Tables(uri, pieces, name, hints)


class Tables(PieceSource):
    """Images in a column of tables. A row can only be read with its neighbours, so tables are read
    in order."""

    def __init__(self, uri: str, pieces: list[Piece], name: str, hints: Hints) -> None:
        super().__init__(uri, pieces, name, hints)
        self.ordered = True
        with _errors(pieces[0]), _opened(pieces[0]) as file:
            schema = file.schema_arrow
            self.image = _image_column(uri, schema, hints)
            self.label = _label_column(uri, schema, hints)
            self.class_names = _class_names(schema, self.label)
        self._reading: tuple[int, int, Iterator[bytes | None]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_reading": None}

    def rows(self) -> Iterator[Row]:
        for number, piece in enumerate(self.pieces):
            with _errors(piece), _opened(piece) as file:
                self._check(piece, file.schema_arrow)
                size = _image_bytes(file, self.image) // max(1, file.metadata.num_rows)
                for row, label in enumerate(self._labels(file)):
                    name = f"{piece.name}/{row:08d}"
                    yield Row(piece.split, name, piece.stamp, label, f"{number} {row}", size)

    def load(self, item: Any) -> bytes:
        number, row = map(int, item.reference)
        piece = self.pieces[number]
        with _errors(piece):
            if self._reading is None or self._reading[0] != number or self._reading[1] > row:
                self._reading = number, 0, self._bodies(piece)
            _, at, bodies = self._reading
            body = None
            while at <= row:
                body = next(bodies)
                at += 1
            self._reading = number, at, bodies
        if body is None:
            raise BadImage("a path and no bytes, or nothing")
        if reason := too_large(len(body)):
            raise BadImage(reason)
        return body

    def _bodies(self, piece: Piece) -> Iterator[bytes | None]:
        """The images of a table, row by row."""
        with _opened(piece) as file:
            column = self.image if _is_bytes(file.schema_arrow.field(self.image).type) else None
            wanted = column or f"{self.image}.bytes"
            for batch in file.iter_batches(_ROWS, columns=[wanted], use_threads=False):
                values = batch.column(0)
                if column is None:
                    values = values.field(0)  # a null struct has no bytes either
                yield from values.to_pylist()

    def _labels(self, file: "pq.ParquetFile") -> Iterator[str | None]:
        if self.label is None:
            for _ in range(file.metadata.num_rows):
                yield None
            return
        names = self.class_names
        for batch in file.iter_batches(_LABEL_ROWS, columns=[self.label], use_threads=False):
            for value in batch.column(0).to_pylist():
                if value is None or value == -1:  # Hugging Face's value for no label
                    yield None
                elif names is not None:
                    yield names[value] if 0 <= value < len(names) else str(value)
                else:
                    yield str(value)

    def _check(self, piece: Piece, schema: "pa.Schema") -> None:
        missing = [c for c in (self.image, self.label) if c and c not in schema.names]
        if missing:
            raise UserError(f"{piece.uri} has no column {missing[0]}, which {self.uri} has first")


class _errors:  # noqa: N801
    """Within the block, errors in a file become one UserError."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import pyarrow as pa

        wrong = (pa.ArrowException, OSError, ValueError, KeyError, StopIteration, OverflowError)
        if isinstance(error, wrong):
            reason = " ".join(str(error).split())[:120] or "fewer rows than it says"
            raise UserError(
                f"{self._piece.uri} is no Parquet file that can be read ({reason}): get it again"
            ) from error


def _opened(piece: Piece) -> "pq.ParquetFile":
    """A table, read through our storage in blocks of 1 MiB."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(piece.storage.open(piece.key), buffer_size=1 << 20, pre_buffer=False)


def _image_column(uri: str, schema: "pa.Schema", hints: Hints) -> str:
    found = [f.name for f in schema if _is_image(f.type) or _is_bytes(f.type)]
    if hints.image is not None:
        if hints.image not in found:
            raise UserError(f"{uri} has no images in a column {hints.image}{_columns(schema)}")
        return hints.image
    structs = [f.name for f in schema if _is_image(f.type)]
    named = [name for name in _IMAGES if name in (structs or found)]
    candidates = structs or named or found
    if not candidates:
        raise UserError(f"{uri} has no column of images{_columns(schema)}")
    if len(candidates) > 1:
        raise UserError(
            f"{uri} has several columns of images, {', '.join(candidates)}: say which with "
            f"--image {candidates[0]}"
        )
    return candidates[0]


def _label_column(uri: str, schema: "pa.Schema", hints: Hints) -> str | None:
    import pyarrow as pa

    plain = [f.name for f in schema if pa.types.is_integer(f.type) or pa.types.is_string(f.type)
             or pa.types.is_large_string(f.type)]  # fmt: skip
    if hints.labels == "none":
        return None
    if hints.labels is not None:
        if hints.labels not in plain:
            raise UserError(f"{uri} has no labels in a column {hints.labels}{_columns(schema)}")
        return hints.labels
    usual = next((name for name in _LABELS if name in plain), None)
    declared = [name for name in plain if _class_names(schema, name)]
    if usual is None and len(declared) > 1:
        raise UserError(
            f"{uri} has several columns of classes, {', '.join(declared)}: say which with "
            f"--labels {declared[0]}, or --labels none"
        )
    return usual or (declared[0] if declared else None)


def _class_names(schema: "pa.Schema", column: str | None) -> list[str] | None:
    """The class names in Hugging Face's metadata of the table."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    known = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if known and len(set(names)) == len(names) and names else None


def _is_image(kind: Any) -> bool:
    """{bytes, path}."""
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return False
    return any(f.name == "bytes" and _is_bytes(f.type) for f in kind)


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _image_bytes(file: "pq.ParquetFile", column: str) -> int:
    """Approximate size in bytes of a table's images."""
    total = 0
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for n in range(group.num_columns):
            chunk = group.column(n)
            if chunk.path_in_schema.partition(".")[0] == column:
                total += chunk.total_uncompressed_size
    return total


def _columns(schema: "pa.Schema") -> str:
    names = list(schema.names)[:8]
    return f": its columns are {', '.join(names)}" + (" …" if len(schema.names) > 8 else "")
