"""Database tables on the local disk, for what does not fit in memory."""

import sqlite3

from dcvae.errors import UserError


def scratch() -> sqlite3.Connection:
    """An empty database that spills to an unnamed file in the temporary folder."""
    database = sqlite3.connect("", isolation_level=None)
    database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;")
    return database


class disk_errors:  # noqa: N801
    """Within the block, a full temporary folder raises a UserError."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError):
            raise UserError(
                f"the temporary folder takes no more ({error}): make room there, or set TMPDIR "
                "to a folder on a larger disk"
            ) from error
