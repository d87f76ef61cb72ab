"""Image files in a zip file, local or on S3."""

import stat
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from dcvae.errors import UserError
from dcvae.sharding.sources.files import FileSource, bounded, too_large
from dcvae.sharding.sources.hints import Hints
from dcvae.sharding.sources.kinds import HEAD, by_bytes, by_suffix, is_junk, kind_of
from dcvae.sharding.sources.listing import File
from dcvae.shards.encodings import BadImage
from dcvae.storage import Storage


class Zip(FileSource):
    """Images in a zip file; nothing is ever unpacked under its own name. On S3 the archive is read
    in order, because every jump would take another request."""

    def __init__(self, uri: str, storage: Storage, key: str, hints: Hints) -> None:
        super().__init__(uri, PurePosixPath(key).stem, hints)
        self._storage, self._key = storage, key
        self.ordered = not storage.uri.startswith("file:")
        self._zip: zipfile.ZipFile | None = None
        self._entries: dict[int, zipfile.ZipInfo] = {}

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_zip": None, "_entries": {}}

    def open(self) -> zipfile.ZipFile:
        """Open the archive, if it is not open yet.

        Raises:
            UserError: it does not exist, or is not a readable zip file.
        """
        if self._zip is None:
            try:
                self._zip = zipfile.ZipFile(self._storage.open(self._key))
            except UserError:
                raise
            except UnicodeDecodeError:
                raise UserError(
                    f"{self.uri} has a name that is not UTF-8 but says so: pack it again"
                ) from None
            except Exception as error:  # zipfile raises many kinds
                raise UserError(f"{self.uri} is not a readable zip file: {error}") from error
            self._entries = {info.header_offset: info for info in self._zip.infolist()}
        return self._zip

    def find(self) -> Iterator[File]:
        self.open()
        seen: set[str] = set()
        infos = self._zip.infolist() if self._zip else []
        for info in sorted(infos, key=lambda info: (info.header_offset, info.filename)):
            name = info.filename
            if info.is_dir():
                continue
            parts = PurePosixPath(name).parts
            shown = name.encode("utf-8", "backslashreplace").decode()
            if any(is_junk(part) for part in parts):
                continue
            if any(part.startswith(".") and part not in (".", "..") for part in parts):
                yield File(shown, ignored="hidden")
                continue
            picture = by_suffix(name)
            bad = _wrong(info) or ("there twice" if name in seen else "")
            if picture is None and not bad:
                picture = self._is_picture(info)
            if not picture:
                yield File(shown, ignored=kind_of(name))
                continue
            seen.add(name)
            stamp = f"{info.file_size}-{info.CRC:08x}"
            yield File(shown, stamp, info.file_size, info.header_offset, bad)

    def read(self, reference: Any) -> bytes:
        archive = self.open()
        try:
            with archive.open(self._entries.get(reference, reference)) as stream:
                return bounded(stream)
        except (BadImage, UserError):
            raise
        except Exception as error:  # zipfile and zlib raise many kinds
            raise BadImage(f"damaged in the zip ({error})") from error

    def _is_picture(self, info: zipfile.ZipInfo) -> bool:
        try:
            with self.open().open(info) as stream:
                return by_bytes(stream.read(HEAD))
        except UserError:
            raise
        except Exception:  # whatever it is, it is not a picture
            return False


def _wrong(info: zipfile.ZipInfo) -> str:
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
        return "its path leads out of the zip"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link"
    if info.flag_bits & 1:
        return "encrypted"
    return too_large(info.file_size)
