"""Which files are pictures: by their suffix or, if that does not tell, by their bytes."""

from functools import cache
from pathlib import Path, PurePosixPath

from PIL import Image

from dcvae.sharding.decoding import formats

HEAD = 32  # bytes needed to recognise a format
JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir")
"""Files that systems leave behind; they are not even reported."""
_NO_PICTURES = {
    *(".csv", ".gz", ".html", ".json", ".jsonl", ".log", ".md", ".npy", ".npz", ".parquet"),
    *(".pickle", ".pkl", ".py", ".tar", ".tgz", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".zip"),
}


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of the formats that we decode, according to Pillow."""
    known = {*formats(), "MPO"}  # MPO: a phone's JPEG with a preview after it
    return frozenset(s for s, kind in Image.registered_extensions().items() if kind in known)


def by_suffix(path: str) -> bool | None:
    """Whether the file is a picture according to its name; None if only its bytes can tell."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in suffixes():
        return True
    return False if suffix in _NO_PICTURES else None


def by_bytes(head: bytes) -> bool:
    """Whether a file that starts with these :data:`HEAD` bytes is of a format that we decode."""
    return any(_accepts(kind, head[:HEAD]) for kind in formats())


def _accepts(kind: str, head: bytes) -> bool:
    if kind == "PPM":  # Pillow accepts anything that starts with P and a digit
        return head[:1] == b"P" and head[1:2] in b"1234567fF" and head[2:3].isspace()
    accept = Image.OPEN[kind][1]
    return accept is not None and accept(head) is True


def is_picture(path: Path) -> bool:
    """Whether a local file is a picture.

    Raises:
        OSError: it cannot be read.
    """
    if path.name.startswith(".") or is_junk(path.name):
        return False
    said = by_suffix(path.name)
    if said is None:
        with path.open("rb") as stream:
            return by_bytes(stream.read(HEAD))
    return said


def is_junk(name: str) -> bool:
    """Whether systems or programs leave files of this name behind."""
    return name in JUNK or name.startswith("._")


def kind_of(path: str) -> str:
    """What to call a file that is not a picture: its suffix."""
    return PurePosixPath(path).suffix.lower() or "no suffix"
