"""The one exception that says: the input is wrong, and this is what to do about it."""

from collections.abc import Iterable

from dcvae.terminal import one_line


class UserError(Exception):
    """Bad input, a missing object or an impossible combination.

    The message is one sentence that says what is wrong and what to do; quoted text is made
    printable. The command line prints it as ``error: …`` and exits with code 2.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean …?)`` with the known names closest to ``name``, or an empty string."""
    from difflib import get_close_matches

    known = list(known)
    ends = [each for each in known if each.endswith(f".{name}")]
    close = ends or get_close_matches(name, known, n=3)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
