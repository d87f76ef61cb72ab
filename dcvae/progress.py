"""Progress of a piece of work, as told to whoever waits for it."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TextIO

from dcvae.messages import Progress
from dcvae.terminal import printable

OnProgress = Callable[[int, int | None, str], None]
"""Called with what is done, how much there is (None: unknown) and what is being done."""


class Tally:
    """Adds up what batches report."""

    def __init__(self, report: OnProgress, total: int, what: str) -> None:
        self.report, self.total, self.what, self.done = report, total, what, 0
        report(0, total, what)

    def __call__(self, count: int) -> None:
        self.done += count
        self.report(self.done, self.total, self.what)


class Lines:
    """An :data:`OnProgress` that prints plain lines, at most one every ``interval`` seconds.

    For logs and pipes. The first call and the end of a piece of work always print one.
    """

    def __init__(self, interval: float = 5.0, out: TextIO | None = None) -> None:
        self._interval = interval
        self._out = out
        self._what = ""
        self._began = (0.0, 0)
        self._told = (0.0, -1)

    def __call__(
        self,
        done: int,
        total: int | None,
        what: str,
        detail: str = "",
        seconds_left: float | None = None,
    ) -> None:
        """Print a line if one is due; without ``seconds_left``, the time left is extrapolated."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._told = what, (now, done), (0.0, -1)
        due = now - self._told[0] >= self._interval or done == total
        if due and done != self._told[1]:
            self._told = (now, done)
            line = f"{what}: {describe(done, total)}{self._left(now, done, total, seconds_left)}"
            text = printable(f"{line}  {detail}".rstrip())
            with suppress(OSError):  # a full disk behind the log must not end the work
                print(text, file=self._out or sys.stdout, flush=True)

    def training(self, progress: Progress) -> None:
        """Print the progress that rank 0 of a training has sent."""
        text = training_text(progress.values)
        self(progress.images, progress.total, "training images", text, progress.seconds_left)

    def _left(self, now: float, done: int, total: int | None, known: float | None) -> str:
        if known is not None:
            return f", {duration(known)} left" if total and done < total else ""
        seconds, before = now - self._began[0], done - self._began[1]
        if total is None or done >= total or seconds < 1 or before <= 0:
            return ""
        return f", {duration(seconds / before * (total - done))} left"


def describe(done: int, total: int | None) -> str:
    """``1,200 of 4,800 (25 %)``; without a total, what is done, or that it has begun."""
    if not total:
        return f"{done:,}" if done else "begun"
    return f"{done:,} of {total:,} ({100 * done // total} %)"


def duration(seconds: float) -> str:
    """``8 s``, ``3 min`` or ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def training_text(values: Mapping[str, float | str]) -> str:
    """The values that rank 0 of a training reports, in one short line.

    ``16 px (40 % in), 212 images/s, 3 % waiting for data, D 0.52, penalty 0.03, G -0.2,
    KL 31/30, instance 2.1/1.9, accuracy 41/52 %``. Terms of one kind share an entry: layers from
    low to high, KL of the generator's and of the contrastive update.
    """
    given = dict(values)
    known = {name: given.pop(name) for name in _SAID if name in given}
    texts = [_SAID[name](float(value)) for name, value in known.items()]
    if "fade" in given and float(given["fade"]) < 1:
        texts[0] += f" ({float(given['fade']):.0%} in)".replace("%", " %")
    given.pop("fade", None)
    kinds: dict[str, list[str]] = {}
    for name, value in given.items():
        label = _LABELS.get(name) or name.removesuffix("_low").removesuffix("_high")
        kinds.setdefault(label.removesuffix("_patch"), []).append(_number(label, value))
    texts += [f"{label} {'/'.join(numbers)}" for label, numbers in kinds.items()]
    return ", ".join(text + " %" * text.startswith("accuracy ") for text in texts)


_SAID: dict[str, Callable[[float], str]] = {
    "resolution": lambda v: f"{v:.0f} px",
    "images_per_second": lambda v: f"{v:,.{0 if v >= 10 else 2}f} images/s",
    "data_wait_ratio": lambda v: f"{100 * v:.0f} % waiting for data",
}
_LABELS = {
    "gan_discriminator": "D",
    "gradient_penalty": "penalty",
    "gan_generator": "G",
    "kl": "KL",
    "kl_contrastive": "KL",
}


def _number(label: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{100 * value:.0f}" if label.startswith("accuracy") else f"{value:.3g}"
