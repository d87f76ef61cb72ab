"""What runs on each node: torchrun's agent, which starts the ranks and reports how they ended.

``python -m dcvae.launch.agent [torchrun's options] -m dcvae.training …``. On a laptop the options
come from the launcher, in a TrainJob from the PET_ variables that Kubeflow Trainer sets.
"""

import os
import signal
import sys
import tempfile
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Any, Never

from dcvae.environment import PARENT_PID, RANK_LOGS
from dcvae.messages import Failure, emit
from dcvae.processes import die_with_parent, parent_environment

LAST_LINES = 30
SHUTDOWN_SECONDS = 100
"""Time for a last checkpoint; shorter than a pod's grace period (k8s/base/runtime.yaml)."""
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def main(arguments: list[str]) -> None:
    """Run the ranks; exit with the failing rank's code, or 143 when stopped."""
    # Right away: importing PyTorch takes seconds, and a container's first process ignores a SIGTERM
    # that it has no handler for, until it is killed at the end of the grace period.
    _on_stop(_exit_early)
    if os.environ.get(PARENT_PID):
        die_with_parent()
    os.environ.update(parent_environment())

    import torch
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    logs = os.environ.get(RANK_LOGS) or tempfile.mkdtemp(prefix="dcvae-ranks-")
    options = ["--log-dir", logs, "--redirects", "3", "--tee", "0:1"]
    # Torchrun's own handlers would exit at a second signal, along with ranks that still write.
    options += ["--signals-to-handle", "SIGUSR2"]

    def stop(number: int, frame: FrameType | None) -> Never:
        _on_stop(signal.SIG_IGN)
        raise SignalException(f"stopped by signal {number}", signal.Signals(number))

    torchrun: Any = run  # torchrun's functions have no annotations
    options += _patience(torchrun)
    try:
        _on_stop(stop)
        torchrun.run(torchrun.parse_args([*options, *arguments]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        lines = _last_lines(Path(logs), failure.local_rank)
        emit(Failure(rank, failure.exitcode, lines, failure.timestamp))
        _exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as stopped:
        _exit(128 + int(stopped.sigval))


def _patience(torchrun: Any) -> list[str]:
    """Give ranks SHUTDOWN_SECONDS to end: an option, where this PyTorch's torchrun has it."""
    if "--shutdown-timeout" in torchrun.get_args_parser().format_help():
        return ["--shutdown-timeout", str(SHUTDOWN_SECONDS)]
    from torch.distributed.elastic.multiprocessing.api import PContext

    PContext.close.__defaults__ = (None, SHUTDOWN_SECONDS)
    return []


def _on_stop(do: Any) -> None:
    for each in _STOPS:
        signal.signal(each, do)


def _exit_early(number: int, frame: FrameType | None) -> Never:
    """Exit before anything has been started."""
    _on_stop(signal.SIG_IGN)
    _exit(128 + number)


def _last_lines(logs: Path, local_rank: int) -> tuple[str, ...]:
    """The last lines of a rank's latest attempt: its errors, or else its output."""
    for name in ("stderr.log", "stdout.log"):
        files = sorted(logs.glob(f"*/attempt_*/{local_rank}/{name}"))
        if files and files[-1].stat().st_size:
            with files[-1].open(errors="replace") as text:
                return tuple(line.rstrip() for line in deque(text, maxlen=LAST_LINES))
    return ()


def _exit(code: int) -> Never:
    sys.stdout.flush()
    raise SystemExit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
