"""The common interface of all ways to start ranks, and how their failures are reported."""

import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from dcvae.errors import UserError
from dcvae.messages import Failure, Progress, ordinary
from dcvae.terminal import printable


class Starter(Protocol):
    """A way to start ranks: as processes of this machine, or as a TrainJob on a cluster."""

    @property
    def nproc(self) -> int:
        """Ranks in all, over all nodes."""

    def run(self, arguments: Sequence[str], show: Callable[[Progress], None]) -> None:
        """Run ``python -m`` ARGUMENTS on every rank until all have ended.

        Raises:
            UserError: a rank refused its input.
            RankError: a rank failed otherwise; with its last lines.
        """


class RankError(RuntimeError):
    """A rank failed. The message has the rank's number, how it ended and its last lines."""


def error_of(failure: Failure, where: str = "") -> UserError | RankError:
    """The error to raise for ``failure``: UserError for bad input, else RankError."""
    last = failure.lines[-1] if failure.lines else ""
    if failure.exit_code == 2 and last.startswith("error: "):
        return UserError(last.removeprefix("error: "))
    if failure.exit_code < 0:
        how = f"was ended by {signal_name(-failure.exit_code)}"
    else:
        how = f"ended with exit code {failure.exit_code}"
    how += hint(failure.exit_code, failure.lines)
    lines = "".join(f"\n  | {printable(line)}" for line in ordinary(failure.lines))
    return RankError(f"rank {failure.rank} {how}{where}. Its last lines:{lines or ' (none)'}")


def signal_name(number: int) -> str:
    """``SIGKILL``, or the number if the signal has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def hint(exit_code: int, lines: Sequence[str]) -> str:
    """The likely cause of an exit code or of the last lines, and what to do; empty if unknown.

    It knows lack of memory, lack of shared memory, and ranks that waited for others in vain.
    """
    said = "\n".join(lines).lower()
    if exit_code in (-signal.SIGBUS, 128 + signal.SIGBUS) or "/dev/shm" in said:
        return (
            ", for want of shared memory: give the container a larger /dev/shm (an emptyDir with "
            "medium Memory, or docker run --shm-size=2g)"
        )
    if any(sign in said for sign in _WAITED):
        return (
            ", having waited in vain for another rank: see what the others said, and if they were "
            "well, whether the nodes reach each other (NCCL_DEBUG=INFO says how, "
            "NCCL_SOCKET_IFNAME chooses the network)"
        )
    if exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        cause = "most likely for want of memory"
    elif any(sign in said for sign in _NO_MEMORY):
        cause = "for want of memory"
    else:
        return ""
    return (
        f", {cause}: give it more, or let it need less, with training.accumulation, "
        "training.checkpoint_activations_from, a smaller batch or fewer ranks on a machine"
    )


_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "memoryerror")
_WAITED = ("collective operation timeout", "timed out waiting", "connection closed by peer")
"""Of NCCL's watchdog, and of gloo."""
