"""Progress on the command line: bars on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dcvae import messages
from dcvae.errors import UserError
from dcvae.progress import Lines, OnProgress, training_text

if TYPE_CHECKING:
    from rich.progress import Progress

_HOUR = 3600.0
"""Seconds: trainings may say something every few minutes only."""


@contextmanager
def progress_shown() -> Iterator[OnProgress]:
    """A report that is a bar on a terminal and plain lines in a pipe or a log."""
    with _shown() as tell:
        yield lambda done, total, what: tell(done, total, what, "")


@contextmanager
def training_shown() -> Iterator[Callable[[messages.Progress], None]]:
    """The same for what rank 0 of a training says."""
    with _shown() as tell:
        yield lambda p: tell(p.images, p.total, "training images", training_text(p.values))


@contextmanager
def _shown() -> Iterator[Callable[[int, int | None, str, str], None]]:
    if not sys.stderr.isatty():
        yield Lines(out=sys.stderr)
        return
    with _bars() as bars:
        tasks: dict[str, int] = {}

        def tell(done: int, total: int | None, what: str, detail: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, detail=detail)
            bars.update(bars.task_ids[tasks[what]], completed=done, total=total, detail=detail)

        yield tell


def _bars() -> "Progress":
    """Bars on the error stream; under each of them a line, or as many as it takes, of detail."""
    from rich.console import Console, RenderableType
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    class Bars(Progress):
        def get_renderables(self) -> Iterator[RenderableType]:
            for task in self.tasks:
                yield self.make_tasks_table([task])
                if task.fields["detail"]:
                    yield f"  {task.fields['detail']}"

    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
        speed_estimate_period=_HOUR,
    )


def check_picture(out: Path) -> None:
    """Refuse an impossible file before anything is loaded."""
    if out.suffix.lower() != ".png":
        raise UserError(f"the picture is a PNG file: name it like {out.with_suffix('.png')}")
    if not out.absolute().parent.is_dir():
        raise UserError(f"there is no folder {out.absolute().parent} to write {out.name} into")
