"""Progress on the command line: bars on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dcvae.errors import UserError
from dcvae.launch.lines import Progress
from dcvae.progress import Lines, Report, as_text


@contextmanager
def progress_shown() -> Iterator[Report]:
    """A report that is a bar on a terminal and plain lines in a pipe or a log."""
    with _shown() as tell:
        yield lambda done, total, what: tell(done, total, what, "")


@contextmanager
def training_shown() -> Iterator[Callable[[Progress], None]]:
    """The same for what rank 0 of a training says."""
    with _shown() as tell:
        yield lambda p: tell(p.images, p.total, "training images", as_text(p.values, 80))


@contextmanager
def _shown() -> Iterator[Callable[[int, int | None, str, str], None]]:
    if not sys.stderr.isatty():
        yield Lines(out=sys.stderr)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, int] = {}

        def tell(done: int, total: int | None, what: str, detail: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, detail=detail)
            bars.update(bars.task_ids[tasks[what]], completed=done, total=total, detail=detail)

        yield tell


def check_picture(out: Path) -> None:
    """Refuse an impossible file before anything is loaded."""
    if out.suffix.lower() != ".png":
        raise UserError(f"the picture is a PNG file: name it like {out.with_suffix('.png')}")
    if not out.absolute().parent.is_dir():
        raise UserError(f"there is no folder {out.absolute().parent} to write {out.name} into")
