"""Checks whether a storage can be used, including conditional writes."""

import os
import time
import uuid
from collections.abc import Iterator

from dcvae.doctor.finding import Finding
from dcvae.errors import UserError
from dcvae.storage import Conflict, Storage, join, open_storage


def storage(uri: str) -> Iterator[Finding]:
    """Whether objects can be written, read, listed and deleted below ``uri``, and conditionally.

    Leaves nothing behind.
    """
    place = open_storage(join(uri, f"doctor-{uuid.uuid4().hex[:12]}"))
    try:
        yield Finding("ok", "storage", _round_trip(place, uri))
    except UserError as error:
        yield Finding("fail", "storage", str(error))


def _round_trip(place: Storage, uri: str) -> str:
    body, began = os.urandom(1 << 20), time.monotonic()
    place.write("probe", body)
    try:
        if place.read("probe") != body:
            raise UserError(f"{uri} gave back other bytes than were written")
        if [info.key for info in place.list()] != ["probe"]:
            raise UserError(f"{uri} does not list an object that was just written")
        try:
            place.write("probe", b"", if_absent=True)
        except Conflict:
            pass
        else:
            raise UserError(
                f"{uri} ignores conditional writes (If-None-Match), which keep two writers apart"
            )
    finally:
        place.delete("probe")
    milliseconds = 1000 * (time.monotonic() - began)
    return f"{uri}: wrote, read, listed and deleted 1 MiB in {milliseconds:.0f} ms"
