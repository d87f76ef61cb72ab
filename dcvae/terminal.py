"""Safe output: text that no terminal takes for commands, and streams that accept any text."""

import io
import logging
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

# Control characters except newline and tab, marks that reorder text, line separators other than
# newlines, and surrogates (how Python represents names that are not UTF-8).
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def printable(text: object) -> str:
    r"""``text`` with everything a terminal would act on escaped: ``\x1b[31m``, ``\u202e``.

    Names of files and S3 keys, and text from manifests, are not ours: they pass through here before
    they are printed. Newlines and tabs stay.
    """
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], str(text))


def one_line(text: object) -> str:
    """``text`` :func:`printable` and on one line."""
    return re.sub(r"\s*[\n\t]\s*", " ", printable(str(text).replace("\r\n", "\n"))).strip()


def prepare_streams() -> None:
    """Make the standard streams accept any text, even on an ASCII terminal or when one is closed.

    A character that the terminal's encoding lacks is escaped instead of raising an error.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for good
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def give_up(stream: TextIO) -> None:
    """Drop what ``stream`` could not write, so that the interpreter does not try again at exit."""
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


class _Warnings(logging.Handler):
    """Passes warnings on, each as one line, and none twice in a row."""

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
    """Pass this package's warnings to ``tell``, or print them on the error stream."""
    log = logging.getLogger("dcvae")
    for handler in [each for each in log.handlers if isinstance(each, _Warnings)]:
        log.removeHandler(handler)
    log.addHandler(_Warnings(tell or _as_line))


def _as_line(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)
