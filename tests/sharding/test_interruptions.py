"""A sharding that is ended at any moment has the same bytes after the second run."""

import os
import signal
from pathlib import Path

import pytest

from dcvae.sharding.shard import shard
from dcvae.storage import open_storage
from dcvae.storage.base import Storage
from tests.painted import OPTIONS, Painted
from tests.processes import child
from tests.sharding.test_shard import contents

MOMENTS = int(os.environ.get("DCVAE_TEST_INTERRUPTIONS", "6"))
IMAGES = 50


def count_writes(storage: Storage, end_at: int = -1, how: int = 0) -> list[str]:
    """Hears of all that is written to such places; ends this process around one of the writes."""
    heard: list[str] = []
    kind = type(storage)
    write = kind.write

    def wrapped(self: Storage, key: str, *given: object, **options: object) -> str:
        heard.append(key)
        now = len(heard) - 1 == end_at
        if now and how == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        etag = write(self, key, *given, **options)  # type: ignore[arg-type]
        if now:
            os.kill(os.getpid(), signal.SIGKILL if how == 1 else signal.SIGINT)
        return etag

    kind.write = wrapped  # type: ignore[method-assign, assignment]
    return heard


def cut_and_end(uri: str, end_at: int, how: int) -> None:
    count_writes(open_storage(uri), end_at, how)
    shard(Painted(IMAGES), uri, **OPTIONS)


def test_ended_before_or_after_any_write(uri: str, tmp_path: Path) -> None:
    whole = open_storage(str(tmp_path / "whole"))
    with pytest.MonkeyPatch.context() as undone:
        undone.setattr(type(whole), "write", type(whole).write)
        written = count_writes(whole)
        expected = shard(Painted(IMAGES), whole.uri, **OPTIONS)
    assert len(written) > 12
    for number in range(MOMENTS):
        place, at = f"{uri}/{number}", number * len(written) // MOMENTS
        process = child(cut_and_end, place, at, number % 3)
        process.join()
        assert process.exitcode != 0, f"the write of {written[at]} ended it"
        assert shard(Painted(IMAGES), place, **OPTIONS).fingerprint == expected.fingerprint
        assert contents(open_storage(place)) == contents(whole)
        assert open_storage(place).stat("unfinished.json") is None
