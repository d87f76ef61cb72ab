"""What surrounds every step of a pipeline, on a laptop and in a pod."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dcvae.errors import UserError
from dcvae.launch.push import pushing
from dcvae.launch.starter import RankError
from dcvae.processes import die_with_run, stopping_on_sigterm
from dcvae.progress import Lines
from dcvae.terminal import prepare_streams, printable, tell_warnings


@contextmanager
def running_step() -> Iterator[Lines]:
    """Wraps the body of a step; yields what prints its progress.

    Bad input and failing ranks end the process with a message instead of a traceback (exit codes 2
    and 1); SIGTERM unwinds it (143); a step of a local pipeline ends when the pipeline does. If the
    environment names a Pushgateway, the step's metrics are pushed there when it ends.
    """
    die_with_run()
    prepare_streams()
    tell_warnings()
    try:
        with stopping_on_sigterm(), pushing():
            yield Lines()
    except UserError as error:
        _end(error, 2)
    except RankError as error:
        _end(error, 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _end(error: Exception, code: int) -> None:
    print(f"error: {printable(error)}", file=sys.stderr, flush=True)
    raise SystemExit(code) from None
