"""Output of the command line: bars on a terminal, plain lines elsewhere; and limits of options."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from dcvae import messages
from dcvae.errors import UserError
from dcvae.progress import Lines, OnProgress, duration, training_text
from dcvae.terminal import one_line, printable

if TYPE_CHECKING:
    from rich.progress import Progress

_HOUR = 3600.0
"""Seconds; a training may report only every few minutes."""


MOST_IMAGES = 10_000
"""Most images of a picture: more would take gigabytes."""
MOST_SEED = 2**63 - 1


def usage(error: TyperException) -> str:
    """What a usage error says in the style of our own: one line, lower case, no full stop."""
    said = one_line(error.format_message()).rstrip(".").replace("Value error, ", "")
    return f"{said[0].lower()}{said[1:]}" if said else "a verb is missing"


def say(text: object) -> None:
    """Print a result; text in it that is not ours cannot act on the terminal."""
    print(printable(text))


def finite(parameter: typer.CallbackParam, value: float | list[float] | None) -> object:
    """Refuse NaN and infinities, which pass every range check."""
    numbers = value if isinstance(value, list) else [value]
    if any(number is not None and not math.isfinite(number) for number in numbers):
        raise UserError(f"{parameter.opts[0]} {value} is not possible: give a finite number")
    return value


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead.")]


def say_json(content: object) -> None:
    """Print a result for programs: ASCII, and null for numbers that JSON lacks."""
    print(json.dumps(_without_nan(content), indent=2, allow_nan=False))


def _without_nan(content: object) -> object:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def say_table(rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns; the first is the header, and None becomes a dash."""
    cells = [[printable("–" if cell is None else cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


@contextmanager
def progress_shown(stopped: str) -> Iterator[OnProgress]:
    """Reports progress as a bar on a terminal, and as plain lines in a pipe or a log.

    ``stopped`` is printed if Ctrl-C or SIGTERM ends the block: what is safe, and how to go on.
    """
    with _stop_told(stopped), _shown() as tell:
        yield lambda done, total, what: tell(done, total, what, "", None)


@contextmanager
def training_shown(stopped: str) -> Iterator[Callable[[messages.Progress], None]]:
    """The same for the progress that rank 0 of a training sends."""
    with _stop_told(stopped), _shown() as tell:

        def show(said: messages.Progress) -> None:
            text = training_text(said.values)
            tell(said.images, said.total, "training images", text, said.seconds_left)

        yield show


@contextmanager
def _stop_told(stopped: str) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        with suppress(OSError):
            print(f"\nstopped: {printable(stopped)}", file=sys.stderr, flush=True)
        raise


@contextmanager
def _shown() -> Iterator[Callable[[int, int | None, str, str, float | None], None]]:
    if not sys.stderr.isatty():
        yield Lines(out=sys.stderr)
        return
    with _bars() as bars:
        tasks: dict[str, int] = {}

        def tell(done: int, total: int | None, what: str, detail: str, left: float | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(printable(what), total=total)
            task = bars.task_ids[tasks[what]]
            bars.update(task, completed=done, total=total, detail=detail, left=left)

        yield tell


def _bars() -> "Progress":
    """Bars on the error stream, each with its details on one or more lines below."""
    from rich.console import Console, RenderableType
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Left(TimeRemainingColumn):
        """The remaining time that was reported or, without one, the bar's own estimate."""

        def render(self, task: Task) -> Text:
            left = task.fields.get("left")
            if left is None or task.finished:
                return super().render(task)
            return Text(f"{duration(left)} left", style="progress.remaining")

    class Bars(Progress):
        def get_renderables(self) -> Iterator[RenderableType]:
            for task in self.tasks:
                yield self.make_tasks_table([task])
                if task.fields.get("detail"):
                    yield Text(f"  {printable(task.fields['detail'])}")

    return Bars(
        TextColumn("{task.description}", markup=False),  # names may contain brackets
        BarColumn(),
        MofNCompleteColumn(),
        Left(),
        console=Console(stderr=True, highlight=False),
        speed_estimate_period=_HOUR,
    )


def check_picture(out: Path) -> None:
    """Refuse an impossible file before anything is loaded."""
    if not out.name:
        raise UserError(f"{out} is a folder: name a PNG file in it")
    if out.suffix.lower() != ".png":
        raise UserError(f"the picture is a PNG file: name it like {out.with_suffix('.png')}")
    if not out.absolute().parent.is_dir():
        raise UserError(f"there is no folder {out.absolute().parent} to write {out.name} into")
    if out.is_dir() or not os.access(out if out.exists() else out.absolute().parent, os.W_OK):
        raise UserError(f"{out} cannot be written: name another file, or mend its permissions")
