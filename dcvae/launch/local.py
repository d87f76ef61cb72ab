"""Ranks on this machine, under torchrun."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcvae.environment import LOGS, RANK_LOGS
from dcvae.launch.starter import RankError, error_of
from dcvae.messages import Failure, Progress, parse
from dcvae.processes import end_tree, parent_environment, stopping_on_sigterm


@dataclass(frozen=True)
class LocalRanks:
    """Starts ranks as processes of this machine."""

    nproc: int = 1
    """Ranks, one a GPU where there are GPUs."""
    grace: float = 30.0
    """Seconds that ranks have to write a checkpoint when they are stopped."""

    def run(self, arguments: Sequence[str], show: Callable[[Progress], None]) -> None:
        """Run ``python -m`` ARGUMENTS on every rank until all have ended.

        Leaves no process behind, whether it returns, fails, is interrupted or is killed.

        Raises:
            UserError: a rank refused its input.
            RankError: a rank ended in another way; with its last lines.
        """
        logs = Path(tempfile.mkdtemp(prefix="ranks-", dir=_log_folder()))
        command = [
            *(sys.executable, "-m", "dcvae.launch.agent"),
            *("--standalone", "--local-addr", "127.0.0.1"),
            *("--nproc-per-node", str(self.nproc), "-m", *arguments),
        ]
        failure: Failure | None = None
        with stopping_on_sigterm(), (logs / "agent.log").open("w") as log:
            agent = subprocess.Popen(
                command,
                env=self._environment(logs),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # the terminal's Ctrl-C is ours to pass on, once
            )
            try:
                assert agent.stdout is not None
                for line in agent.stdout:
                    log.write(line)
                    log.flush()
                    message = parse(line)
                    if isinstance(message, Progress):
                        show(message)
                    elif isinstance(message, Failure):
                        failure = message
                code = agent.wait()
            finally:
                end_tree(agent.pid, self.grace)
                agent.wait()
        if failure is not None:
            raise error_of(failure, f"; all of its output is in {logs}")
        if code != 0:
            raise RankError(_agent_ended(code, logs))
        if not os.environ.get(LOGS):
            shutil.rmtree(logs)

    def _environment(self, logs: Path) -> dict[str, str]:
        threads = max(1, len(os.sched_getaffinity(0)) // self.nproc)
        defaults = {
            "OMP_NUM_THREADS": str(threads),
            "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        }
        return {
            **defaults,
            **os.environ,
            **parent_environment(),
            RANK_LOGS: str(logs),
            "PYTHONUNBUFFERED": "1",
        }


def _log_folder() -> str | None:
    folder = os.environ.get(LOGS)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    return folder


def _agent_ended(code: int, logs: Path) -> str:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    lines = (logs / "agent.log").read_text(errors="replace").splitlines()[-15:]
    return "\n".join([f"the ranks could not be run: {how}; see {logs / 'agent.log'}", *lines])
