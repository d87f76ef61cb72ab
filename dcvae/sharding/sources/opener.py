"""Opens the source that a user's text means."""

import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Unpack

from dcvae.errors import UserError
from dcvae.sharding.sources.arrays import Digits, Idx
from dcvae.sharding.sources.base import Source
from dcvae.sharding.sources.bucket import Bucket
from dcvae.sharding.sources.folder import Folder
from dcvae.sharding.sources.hints import HintOptions, Hints
from dcvae.sharding.sources.local import existing, is_folder, local_path
from dcvae.sharding.sources.zips import Zip
from dcvae.shards.manifest import MANIFEST, load_manifest
from dcvae.storage import open_storage, split_uri


def open_source(uri: str, **options: Unpack[HintOptions]) -> Source:
    """Open a source of images.

    Args:
        uri: ``sklearn:digits``; ``torchvision:CIFAR10``, ``:STL10``, ``:CelebA``,
            ``:LSUN/bedroom``, ``:MNIST``, ``:FashionMNIST``; ``idx:FOLDER``; ``webdataset:TARS``;
            ``parquet:TABLES``; a folder; a zip file (also on S3); an ``s3://`` prefix.
        options: see :class:`dcvae.sharding.sources.hints.Hints`.

    Raises:
        UserError: it is not a known source, or does not exist.
    """
    hints = Hints(**options)
    kind, _, rest = uri.partition(":")
    _refuse_hints(uri, kind, hints)
    if uri == "sklearn:digits":
        return Digits(uri)
    if kind == "torchvision":
        from dcvae.sharding.sources.published import open_published  # imports torch

        return open_published(uri, rest)
    if kind == "idx":
        return Idx(uri, existing(local_path(rest), _IDX_FOLDER))
    if kind == "webdataset":
        from dcvae.sharding.sources.tars import open_tars  # imports webdataset

        _refuse_shard_set(uri, rest)
        return open_tars(uri, rest, hints)
    if kind == "parquet":
        from dcvae.sharding.sources.tables import open_tables  # imports webdataset

        return open_tables(uri, rest, hints)
    if kind == "sklearn":
        raise UserError(f"{uri} is no known source: sklearn:digits is the only one of its kind")
    return _of_files(uri, hints)


_IDX_FOLDER = (
    "give a folder of IDX files (Debian's package dataset-fashion-mnist has one, "
    "/usr/share/datasets/fashion-mnist)"
)
_FILES = ("test", "splits", "classes", "labels", "follow_links")
_TAKES: dict[str, tuple[str, ...]] = {
    "sklearn": ("test",),
    "torchvision": ("test",),
    "idx": ("test",),
    "webdataset": ("test", "splits", "labels", "image"),
    "parquet": ("test", "splits", "labels", "image"),
}


def _refuse_hints(uri: str, kind: str, hints: Hints) -> None:
    """Refuse hints that mean nothing for this kind of source."""
    takes = _TAKES.get(kind, _FILES)
    for field in fields(Hints):
        if getattr(hints, field.name) != field.default and field.name not in takes:
            option = "--" + field.name.replace("_", "-")
            raise UserError(f"{option} means nothing for {uri}: leave it out")


def _of_files(uri: str, hints: Hints) -> Source:
    scheme, _, path = split_uri(uri)
    is_a_folder = scheme == "file" and is_folder(Path(path))
    if not is_a_folder and (path.lower().endswith(".zip") or _is_zip(scheme, path)):
        root, _, key = uri.rstrip("/").rpartition("/")
        found = Zip(uri, open_storage(root or ("/" if _ else ".")), key, hints)
        found.open()
        return found
    _refuse_shard_set(uri, uri)
    if scheme == "s3":
        return Bucket(uri, hints)
    if scheme != "file":
        raise UserError(f"{uri} is no known source: give a folder, a zip file or an s3:// prefix")
    return Folder(uri, existing(Path(path)), hints)


def _refuse_shard_set(uri: str, place: str) -> None:
    """Refuse what ``dcvae shard`` has made: its tars hold each image once per resolution."""
    if not place or split_uri(place)[0] not in ("s3", "file"):
        return
    storage = open_storage(place)
    if storage.stat(MANIFEST) is None:
        return
    try:
        origin = load_manifest(storage).source.uri
    except UserError:  # a file of that name that is not ours
        return
    raise UserError(
        f"{uri} is a shard set already: train on it as it is, or cut again what it was made from, "
        f"{origin}"
    )


def _is_zip(scheme: str, path: str) -> bool:
    try:
        return scheme == "file" and Path(path).is_file() and zipfile.is_zipfile(path)
    except OSError:
        return False
