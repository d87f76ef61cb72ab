"""What a rank tells its launcher: marked lines of JSON among its ordinary output.

The launcher reads the same lines from a local process and from a pod's log, so both ways of
starting ranks show the same progress and the same failures. Everything else a rank prints goes to
log files only.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

_MARK = "::dcvae::"


@dataclass(frozen=True)
class Progress:
    """How far a training is; sent by rank 0."""

    images: int
    """Real images shown to the model so far."""
    total: int
    """Real images of the whole schedule."""
    values: Mapping[str, float | str] = field(default_factory=dict)
    """What else is worth showing: resolution, losses, images per second."""
    seconds_left: float | None = None
    """Until the end of the schedule, each phase weighted by its cost; None if not known yet."""


@dataclass(frozen=True)
class Notice:
    """Something the user should know meanwhile, such as a storage that does not answer."""

    text: str


@dataclass(frozen=True)
class Failure:
    """How a rank failed."""

    rank: int
    exit_code: int
    """As in ``subprocess``: a negative number is a signal."""
    lines: tuple[str, ...]
    """The last lines the rank wrote."""
    time: int = 0
    """When, in seconds since 1970: the earliest failure is the cause of the others."""


def progress(
    images: int, total: int, values: Mapping[str, float | str], seconds_left: float | None = None
) -> None:
    """Report how far this training is (rank 0 only)."""
    emit(Progress(images, total, values, seconds_left))


def emit(message: Progress | Notice | Failure) -> None:
    """Print ``message`` as one marked line on the standard output."""
    content = {"kind": type(message).__name__.lower(), **asdict(message)}
    sys.stdout.write(f"{_MARK}{json.dumps(content)}\n")
    sys.stdout.flush()


def ordinary(lines: Iterable[str]) -> list[str]:
    """``lines`` without those meant for the launcher."""
    return [line for line in lines if _MARK not in line]


def parse(line: str) -> Progress | Notice | Failure | None:
    """The message in ``line``; None if the line is ordinary or damaged."""
    _, mark, text = line.partition(_MARK)
    if not mark:
        return None
    try:
        content = json.loads(text)
        kind = content.pop("kind")
        if kind == "progress":
            return Progress(**content)
        if kind == "notice":
            return Notice(str(content["text"]))
        if kind == "failure":
            return Failure(**{**content, "lines": tuple(content["lines"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return None
