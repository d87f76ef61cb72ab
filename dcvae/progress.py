"""How far a piece of work is, told to whoever waits for it."""

import sys
import time
from collections.abc import Callable, Mapping
from textwrap import shorten
from typing import TextIO

from dcvae.launch.lines import Progress

Report = Callable[[int, int | None, str], None]
"""Called with what is done, how much there is (None: unknown) and what is being done."""


class Lines:
    """A :data:`Report` as plain lines, one every ``interval`` seconds at most.

    For logs and pipes. The first call and the end of a piece of work are always told.
    """

    def __init__(self, interval: float = 5.0, out: TextIO | None = None) -> None:
        self._interval = interval
        self._out = out
        self._what = ""
        self._began = (0.0, 0)
        self._told = (0.0, -1)

    def __call__(self, done: int, total: int | None, what: str, detail: str = "") -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._told = what, (now, done), (0.0, -1)
        due = now - self._told[0] >= self._interval or done == total
        if due and done != self._told[1]:
            self._told = (now, done)
            line = f"{what}: {describe(done, total)}{self._left(now, done, total)}"
            print(f"{line}  {detail}".rstrip(), file=self._out or sys.stdout, flush=True)

    def training(self, progress: Progress) -> None:
        """Tell what rank 0 of a training says."""
        self(progress.images, progress.total, "training images", as_text(progress.values, 110))

    def _left(self, now: float, done: int, total: int | None) -> str:
        seconds, before = now - self._began[0], done - self._began[1]
        if total is None or done >= total or seconds < 1 or before <= 0:
            return ""
        return f", {duration(seconds / before * (total - done))} left"


def describe(done: int, total: int | None) -> str:
    """``1,200 of 4,800 (25 %)``, or only what is done when the total is unknown."""
    if not total:
        return f"{done:,}"
    return f"{done:,} of {total:,} ({100 * done // total} %)"


def duration(seconds: float) -> str:
    """``8 s``, ``3 min`` or ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def as_text(values: Mapping[str, float | str], width: int) -> str:
    """``a 0.12, b 3`` for named numbers and words, the most telling first, within ``width``."""
    first = {name: values[name] for name in ("resolution", "images_per_second") if name in values}
    texts = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in (first | dict(values)).items()
    ]
    return shorten(", ".join(texts), width, placeholder=" …")
