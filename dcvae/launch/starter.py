"""The one interface behind which ranks are started, and how their failure is told."""

import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from dcvae.errors import UserError
from dcvae.messages import Failure, Progress


class Starter(Protocol):
    """A way to start ranks: processes of this machine, or a TrainJob on a cluster."""

    @property
    def nproc(self) -> int:
        """Ranks in all, over all nodes."""

    def run(self, arguments: Sequence[str], show: Callable[[Progress], None]) -> None:
        """Run ``python -m`` ARGUMENTS on every rank until all have ended.

        Raises:
            UserError: a rank refused its input.
            RankError: a rank ended in another way; with its last lines.
        """


class RankError(RuntimeError):
    """A rank failed. The message has its number, how it ended and its last lines."""


def error_of(failure: Failure, where: str = "") -> UserError | RankError:
    """What ``failure`` amounts to: the sentence of a UserError, or RankError."""
    last = failure.lines[-1] if failure.lines else ""
    if failure.exit_code == 2 and last.startswith("error: "):
        return UserError(last.removeprefix("error: "))
    if failure.exit_code < 0:
        how = f"was ended by {signal.Signals(-failure.exit_code).name}"
    else:
        how = f"ended with exit code {failure.exit_code}"
    lines = "".join(f"\n  | {line}" for line in failure.lines)
    return RankError(f"rank {failure.rank} {how}{where}. Its last lines:{lines or ' (none)'}")
