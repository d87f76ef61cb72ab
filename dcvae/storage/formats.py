"""Stored records: readable JSON with a format version and timestamps."""

import json
from datetime import UTC, datetime
from typing import Any

from dcvae.errors import UserError
from dcvae.storage.base import Storage


def read_versioned(storage: Storage, key: str, version: int) -> dict[str, Any]:
    """The JSON object under ``key``, whose ``format_version`` is ``version``.

    Raises:
        NotFound: there is no such object.
        UserError: it is not JSON, or of another version.
    """
    content = storage.read_json(key)
    found = content.get("format_version") if isinstance(content, dict) else None
    if found != version:
        raise UserError(
            f"{storage.uri}/{key} has format version {found}, and this dcvae reads version "
            f"{version}; use the dcvae that wrote it, or a later one"
        )
    return dict(content)


def to_json(content: object) -> bytes:
    """A record as indented JSON, readable in a browser."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def timestamp() -> str:
    """The current time for records: UTC in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
