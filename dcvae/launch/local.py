"""Ranks on this machine, started by torchrun."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcvae.environment import RANK_LOGS
from dcvae.launch.logs import rank_logs
from dcvae.launch.starter import RankError, error_of, hint, signal_name
from dcvae.messages import Failure, Notice, Progress, ordinary, parse
from dcvae.processes import end_tree, parent_environment, stopping_on_sigterm
from dcvae.terminal import printable

_LAST_LINES = 15
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalRanks:
    """Starts ranks as processes of this machine."""

    nproc: int = 1
    """Number of ranks; one per GPU if there are GPUs."""
    grace: float = 30.0
    """Seconds that ranks get to write a checkpoint when they are stopped."""
    keep: str | None = None
    """URI of the folder where the logs of a failure are kept."""

    def run(self, arguments: Sequence[str], show: Callable[[Progress], None]) -> None:
        """Run ``python -m`` ARGUMENTS on every rank until all have ended.

        Leaves no process behind, whether it returns, fails, is interrupted or is killed, and no
        logs of ranks that succeeded or were stopped.

        Raises:
            UserError: a rank refused its input.
            RankError: a rank failed otherwise; with its last lines.
        """
        with stopping_on_sigterm(), rank_logs(self.keep) as logs:
            code, failure = self._follow(arguments, logs.folder, show)
            if failure is not None:
                error = error_of(failure)
                if isinstance(error, RankError):
                    error = error_of(failure, f"; all of its output is in {logs.kept()}")
                raise error
            if code != 0:
                raise RankError(_agent_ended(code, logs.folder, logs.kept()))

    def _follow(
        self, arguments: Sequence[str], logs: Path, show: Callable[[Progress], None]
    ) -> tuple[int, Failure | None]:
        """Start the agent, pass on its messages, and return how it, and a failed rank, ended."""
        command = [
            *(sys.executable, "-m", "dcvae.launch.agent"),
            *("--standalone", "--local-addr", "127.0.0.1"),
            *("--nproc-per-node", str(self.nproc), "-m", *arguments),
        ]
        failure: Failure | None = None
        with (logs / _AGENT_LOG).open("w") as written:
            agent = subprocess.Popen(
                command,
                env=self._environment(logs),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # so that we pass on the terminal's Ctrl-C, once
            )
            try:
                assert agent.stdout is not None
                for line in agent.stdout:
                    written.write(line)
                    written.flush()
                    message = parse(line)
                    if isinstance(message, Progress):
                        show(message)
                    elif isinstance(message, Notice):
                        log.warning("%s", message.text)
                    elif isinstance(message, Failure):
                        failure = message
                return agent.wait(), failure
            finally:
                end_tree(agent.pid, self.grace)
                agent.wait()

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


_AGENT_LOG = "agent.log"


def _agent_ended(code: int, logs: Path, kept: str) -> str:
    how = f"ended by {signal_name(-code)}" if code < 0 else f"exit code {code}"
    said = ordinary((logs / _AGENT_LOG).read_text(errors="replace").splitlines())[-_LAST_LINES:]
    told = f"the ranks could not be run: {how}{hint(code, said)}; see {kept}"
    return "\n".join([told, *map(printable, said)])
