"""Detects a full disk below the embedded server, which itself only says "internal error"."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcvae.environment import EMBEDDED_S3
from dcvae.errors import UserError

_LEFT = 0.02  # free share of the disk; below about 0.01 the server refuses writes
_LEFT_BYTES = 64 << 20


def full_disk(code: str) -> str | None:
    """The folder whose disk is full, if that is what the S3 error code ``code`` is about."""
    folder = os.environ.get(EMBEDDED_S3)
    return folder if code == "InternalError" and folder and is_full(folder) else None


def is_full(folder: str | Path) -> bool:
    """Whether the disk below ``folder`` has less free space than the server needs to write."""
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return False
    return disk.free < max(_LEFT * disk.total, _LEFT_BYTES)


def full(folder: Path) -> UserError:
    """The message if the server cannot write for lack of space."""
    return UserError(
        f"the disk under {folder} is full, where the embedded S3 server keeps its files: free some "
        "space, and run the same command again"
    )


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """Wraps writes below ``folder``; a full disk raises a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise full(folder) from None
