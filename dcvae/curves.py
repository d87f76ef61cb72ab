"""A run's curves as TensorBoard reads them: the numbers of metrics.jsonl, over images.

::

    <place>/events.out.tfevents.<images>    <images>: where this start, or resume, began

The latest file holds the whole run. Files of earlier starts are emptied but kept: an open
TensorBoard can only go on from a file that still exists. A file is a sequence of records, each an
``Event`` in protocol buffers; it is kept in memory and written whole, because objects in a bucket
cannot be appended to.
"""

import io
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from dcvae.storage import Storage

FILE = "events.out.tfevents."
_GROUPS = {
    "resolution": "schedule/resolution",
    "fade": "schedule/fade",
    "images_per_second": "speed/images_per_second",
    "data_wait_seconds": "speed/data_wait_seconds",
}
_ACCURACY = "accuracy_"
_FRAME = struct.Struct("<QI")
"""Precedes a record: its length and a checksum of the length. Another checksum follows it."""


def available() -> bool:
    """Whether TensorBoard's package is installed (the extra ``tensorboard``)."""
    return find_spec("tensorboard") is not None


class Curves:
    """The event file of one run; used by rank 0 alone."""

    def __init__(self, place: Storage) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary

        self.place = place
        self._event, self._session, self._summary = Event, SessionLog, Summary
        self._earlier: list[str] = []
        self._clear(0)

    def resume(self, images: int, lines: Sequence[Mapping[str, float]]) -> None:
        """Resume after ``images`` images; ``lines`` are those of metrics.jsonl up to there.

        They keep their times if the earlier file holds exactly these lines.
        """
        self._clear(images)
        self._earlier = [info.key for info in self.place.list(FILE) if info.size]
        kept = list(self._kept(images))
        if [event.step for event in kept] == [int(line["images"]) for line in lines]:
            for event in kept:
                self._add(event)
        else:
            for line in lines:
                self.add(line)

    def add(self, line: Mapping[str, float]) -> None:
        """Add a line of metrics.jsonl, taken now."""
        values = [
            self._summary.Value(tag=_tag(name), simple_value=value)
            for name, value in line.items()
            if name != "images"
        ]
        summary = self._summary(value=values)
        self._add(self._event(step=int(line["images"]), wall_time=time.time(), summary=summary))

    def write(self) -> None:
        """Write the file with every line so far, then empty those of earlier starts."""
        self.place.write(self._key, self._file.getvalue())
        for key in self._earlier:
            if key != self._key:
                self.place.write(key, b"")
        self._earlier = []

    def _clear(self, images: int) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._key = f"{FILE}{images:012d}"
        self._file = io.BytesIO()
        self._records = RecordWriter(self._file)
        now = time.time()
        self._add(self._event(file_version="brain.Event:2", wall_time=now))
        # A reader that has seen an earlier file of the run forgets it: this one holds everything.
        start = self._session(status=self._session.START)
        self._add(self._event(step=0, session_log=start, wall_time=now))

    def _kept(self, images: int) -> Iterator[Any]:
        """Events of up to ``images`` images in the latest earlier file."""
        from google.protobuf.message import DecodeError

        content = self.place.read(self._earlier[-1]) if self._earlier else b""
        for data in _records(content):
            try:
                event = self._event.FromString(data)
            except DecodeError:
                return
            if event.HasField("summary") and event.step <= images:
                yield event

    def _add(self, event: Any) -> None:
        self._records.write(event.SerializeToString())


def _tag(name: str) -> str:
    """The name by which TensorBoard groups: ``loss/kl``, ``accuracy/low``."""
    if name.startswith(_ACCURACY):
        return f"accuracy/{name.removeprefix(_ACCURACY)}"
    return _GROUPS.get(name, f"loss/{name}")


def _records(content: bytes) -> Iterator[bytes]:
    """The records of an event file, up to the first that is cut off."""
    at = 0
    while at + _FRAME.size <= len(content):
        length, _ = _FRAME.unpack_from(content, at)
        begin = at + _FRAME.size
        at = begin + length + 4
        if at <= len(content):
            yield content[begin : begin + length]
