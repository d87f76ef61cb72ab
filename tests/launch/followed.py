"""A TrainJob that is followed in a thread while a test changes what the cluster says of it."""

import contextlib
import io
import threading
from typing import Any

from dcvae import messages
from dcvae.launch.trainjob import TrainJob
from dcvae.messages import Failure, Progress

NAME = "dcvae-0123456789"
ARGUMENTS = ["dcvae.training", "--config", "{}", "--data", "s3://a", "--out", "s3://b"]


def job(**options: Any) -> TrainJob:
    return TrainJob(**{"name": NAME, "runtime": "dcvae", "nodes": 2, "poll": 0.05, **options})


def said(second: int, message: Progress | Failure | str) -> str:
    """A line of a pod's log: its time and what an agent or a rank printed."""
    out = io.StringIO()
    if isinstance(message, str):
        out.write(message)
    else:
        with contextlib.redirect_stdout(out):
            messages.emit(message)
    return f"2026-01-01T00:00:{second:02d}.000000000Z [default0]:{out.getvalue().strip()}"


class Running(threading.Thread):
    """The job followed in another thread, as a controller changes it in this one."""

    def __init__(self, followed: TrainJob) -> None:
        super().__init__(daemon=True)
        self.followed = followed
        self.shown: list[Progress] = []
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.followed.run(ARGUMENTS, self.shown.append)
        except BaseException as error:
            self.error = error

    def ended(self) -> BaseException | None:
        self.join(20)
        assert not self.is_alive()
        return self.error
