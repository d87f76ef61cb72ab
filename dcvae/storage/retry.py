"""Riding out faults: again with jitter, until patience ends."""

import os
import random
import time
from collections.abc import Callable
from typing import TypeVar

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3 import exceptions as urllib3

from dcvae.environment import STORAGE_FIRST_PATIENCE, STORAGE_PATIENCE
from dcvae.errors import UserError
from dcvae.storage.metrics import ERRORS, REQUESTS, RETRIES

T = TypeVar("T")

LONGEST_PAUSE = 5.0  # seconds

# Whatever may pass: no connection, a stalled, cut or damaged body. botocore itself never retries
# a fault inside a body, so its own retries are off and all of them happen here.
TRANSIENT = (
    boto.ConnectionError,  # none to be had
    boto.HTTPClientError,  # read timeouts, closed connections
    boto.FlexibleChecksumError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    boto.ReadTimeoutError,
    ResponseParserError,  # a proxy's error page where XML was due
    urllib3.HTTPError,
    ConnectionError,
    TimeoutError,
)
TRANSIENT_CODES = {
    "BadDigest",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottlingException",
}


def transient(error: Exception) -> bool:
    """True when the same request may succeed a little later."""
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        return status >= 500 or status == 429 or code in TRANSIENT_CODES
    return isinstance(error, TRANSIENT)


def seconds(variable: str, default: float) -> float:
    """A duration from the environment.

    Raises:
        UserError: it is not a positive number.
    """
    text = os.environ.get(variable, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(f"{variable} is {text!r}: give a number of seconds above 0")
    return value


class Patience:
    """How long one client goes on trying: shortly until the place has answered once, then long.

    A wrong address should be told within seconds; an outage in the middle of a run should be
    waited for. ``DCVAE_STORAGE_FIRST_PATIENCE`` (seconds, default 12) sets the former,
    ``DCVAE_STORAGE_PATIENCE`` (120) the latter.
    """

    def __init__(self) -> None:
        self.first = seconds(STORAGE_FIRST_PATIENCE, 12)
        self.patience = seconds(STORAGE_PATIENCE, 120)
        self.answered = False

    def __call__(self, operation: str, attempt: Callable[[int], T]) -> T:
        """Call ``attempt(0)``, ``attempt(1)``, … until one returns; raise its error at the end."""
        began = time.monotonic()
        number = 0
        while True:
            REQUESTS.labels(operation).inc()
            try:
                result = attempt(number)
            except Exception as error:
                self.answered |= isinstance(error, boto.ClientError)
                limit = self.patience if self.answered else min(self.first, self.patience)
                pause = random.uniform(0.3, 1.0) * min(LONGEST_PAUSE, 0.1 * 2 ** min(number, 10))
                if not transient(error) or time.monotonic() + pause - began > limit:
                    ERRORS.inc()
                    raise
            else:
                self.answered = True
                return result
            RETRIES.inc()
            number += 1
            time.sleep(pause)
