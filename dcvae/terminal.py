"""What may be shown: text that no terminal takes for commands, and streams that take any text."""

import io
import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

# Control characters but newline and tab, marks that reorder text, separators of lines that are
# not newlines, and halves of characters (how Python spells names that are not UTF-8).
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def printable(text: object) -> str:
    r"""``text`` with all that a terminal would act on spelled out: ``\x1b[31m``, ``\u202e``.

    Names of files, of S3 keys and in manifests are others' words: they come here before they are
    printed. Newlines and tabs stay.
    """
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], str(text))


def one_line(text: object) -> str:
    """``text`` :func:`printable` and on one line."""
    return re.sub(r"\s*[\n\t]\s*", " ", printable(str(text).replace("\r\n", "\n"))).strip()


def prepare_streams() -> None:
    """Let the standard streams take any text, also on an ASCII terminal and where one is closed.

    A character that the terminal's encoding lacks is spelled out: nothing dies for want of it.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for good
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def give_up(stream: TextIO) -> None:
    """Drop what ``stream`` could not write, so that the interpreter does not try it once more."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


class _Warnings(logging.Handler):
    """Passes warnings on, each as one line; the same one again within a run only once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell, self._told = tell, ""

    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(record.getMessage())
        if text != self._told:
            self._told = text
            with suppress(OSError, ValueError):
                self._tell(text)


def tell_warnings(tell: Callable[[str], None] | None = None) -> None:
    """Have this package's warnings told to ``tell``, or as lines of the error stream."""
    log = logging.getLogger("dcvae")
    for handler in [each for each in log.handlers if isinstance(each, _Warnings)]:
        log.removeHandler(handler)
    log.addHandler(_Warnings(tell or _as_line))


def _as_line(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
