"""Surviving faults: retries with jitter until patience runs out.

botocore's own retry modes cannot stand in: they end before the body, where connections break most,
and know neither a patience that depends on earlier answers nor a warning to whoever waits.
"""

import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3 import exceptions as urllib3

from dcvae.environment import STORAGE_FIRST_PATIENCE, STORAGE_PATIENCE
from dcvae.errors import UserError
from dcvae.storage.disk import full_disk
from dcvae.storage.metrics import ERRORS, REQUESTS, RETRIES

T = TypeVar("T")

LONGEST_PAUSE = 5.0  # seconds
TOLD_AFTER = 5.0
"""Seconds of waiting after which a warning is logged."""
log = logging.getLogger(__name__)


class WrongAnswer(ConnectionError):  # noqa: N818
    """An answer with status 200 that is not what was asked for: a proxy's page, another body."""


def part_of(response: Any, *names: str) -> Any:
    """The named part of an answer that always has it. Raises WrongAnswer if it has not."""
    for name in names:
        if not isinstance(response, Mapping) or name not in response:
            raise WrongAnswer(f"an answer without {name}")
        response = response[name]
    return response


# Faults that may pass: no connection; a stalled, truncated or damaged body.
TRANSIENT = (
    boto.ConnectionError,  # cannot connect
    boto.HTTPClientError,  # read timeouts, closed connections
    boto.FlexibleChecksumError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    boto.ReadTimeoutError,
    ResponseParserError,  # a proxy's error page instead of XML
    urllib3.HTTPError,
    ConnectionError,
    TimeoutError,
)
TRANSIENT_STATUSES = {408, 429, 500, 502, 503, 504}  # not 501, 505, 507: those will not pass
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
    """Whether the same request may succeed a little later."""
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        passing = status in TRANSIENT_STATUSES or code in TRANSIENT_CODES
        return passing and full_disk(code) is None
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
    """How long one client keeps trying: briefly until the storage has answered once, then long.

    A wrong address should be reported within seconds; an outage in the middle of a run should be
    waited out. ``DCVAE_STORAGE_FIRST_PATIENCE`` (seconds, default 12) sets the former,
    ``DCVAE_STORAGE_PATIENCE`` (120) the latter.
    """

    def __init__(self) -> None:
        self.first = seconds(STORAGE_FIRST_PATIENCE, 12)
        self.patience = seconds(STORAGE_PATIENCE, 120)
        self.answered = False
        self._told = -TOLD_AFTER

    def __call__(self, operation: str, attempt: Callable[[int], T], what: str = "") -> T:
        """Call ``attempt(0)``, ``attempt(1)``, … until one returns; finally raise its error.

        ``what`` is the URI that warnings name.
        """
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
                waits = time.monotonic() + pause - began
                if not transient(error) or waits > limit:
                    ERRORS.inc()
                    raise
                if waits > TOLD_AFTER:
                    self._tell(f"cannot {operation} {what}".rstrip(), error, waits, limit)
            else:
                self.answered = True
                return result
            RETRIES.inc()
            number += 1
            time.sleep(pause)

    def _tell(self, what: str, error: Exception, waits: float, limit: float) -> None:
        """Log that we are waiting, with one line for all threads that wait at once."""
        if time.monotonic() - self._told < TOLD_AFTER:
            return
        self._told = time.monotonic()
        log.warning(
            "%s for %.0f s now (%s); trying again for up to %.0f s in all",
            *(what, waits, reason(error), limit),
        )


def reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        return f"{error.response.get('Error', {}).get('Code', '')} {status}".strip()
    return str(error) if isinstance(error, WrongAnswer) else type(error).__name__
