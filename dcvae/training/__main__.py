"""One rank of a training: ``python -m dcvae.training --config JSON --data URI --out URI``."""

import argparse
import json
import os
import sys
import time
from typing import Never

LAST_SCRAPE_SECONDS = 20
"""How long a rank that met a NaN stays up, so that its metric is scraped and the alert fires."""


def main(arguments: list[str] | None = None) -> int:
    """Train and return the exit code: 0 finished, 2 bad input, 75 restart me, 1 anything else."""
    from dcvae.environment import PARENT_PID
    from dcvae.processes import die_with_parent

    if os.environ.get(PARENT_PID):
        die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m dcvae.training", description=__doc__)
    parser.add_argument("--config", required=True, help="the resolved configuration as JSON")
    parser.add_argument("--data", required=True, help="URI of the shard set")
    parser.add_argument("--out", required=True, help="URI of the run folder")
    given = parser.parse_args(arguments)

    from dcvae.config import parse_config
    from dcvae.errors import UserError
    from dcvae.messages import Notice, emit
    from dcvae.terminal import tell_warnings
    from dcvae.training import ranks
    from dcvae.training.loop import RESTART_EXIT_CODE, Stopped, train
    from dcvae.training.telemetry import NonFiniteError
    from dcvae.training.watch import ADVICE, LOST_EXIT_CODE, peer_is_lost

    if os.environ.get("RANK", "0") == "0":
        tell_warnings(lambda text: emit(Notice(text)))  # the launcher shows only rank 0
    try:
        config = parse_config(json.loads(given.config))
        train(config, given.data, given.out)
    except Stopped:
        return RESTART_EXIT_CODE
    except UserError as error:
        return _fail(error, 2)
    except NonFiniteError as error:
        if config.training.metrics_port is not None:
            time.sleep(LAST_SCRAPE_SECONDS)
        return _fail(error, 1)
    except RuntimeError as error:
        if ranks.world_size() > 1 and peer_is_lost(error):
            return _fail(f"a rank is lost; {ADVICE}", LOST_EXIT_CODE)
        raise
    return 0


def _fail(error: Exception | str, code: int) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return code


def _leave(code: int) -> Never:
    """Exit without tearing the interpreter down.

    Everything is written by now. Threads of the communication libraries that still run when the
    interpreter ends can abort the process, which would turn a finished run into a failed one.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
