"""The disk under the embedded server, which says no more than "internal error" when it is full."""

import os
import shutil

from dcvae.environment import EMBEDDED_S3

_LEFT = 0.02  # of the disk: below about one hundredth, the server takes no more
_LEFT_BYTES = 64 << 20


def full_disk(code: str) -> str | None:
    """The folder whose disk is full, if that is what ``code``, an answer of S3, is about."""
    folder = os.environ.get(EMBEDDED_S3)
    if code != "InternalError" or not folder:
        return None
    try:
        disk = shutil.disk_usage(folder)
    except OSError:
        return None
    return folder if disk.free < max(_LEFT * disk.total, _LEFT_BYTES) else None
