"""The process's boto3 client, and its errors in plain words."""

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from dcvae.environment import S3, STORAGE_FIRST_PATIENCE, STORAGE_PATIENCE, STORAGE_TIMEOUT
from dcvae.errors import UserError
from dcvae.storage.disk import full_disk
from dcvae.storage.retry import Patience, reason, seconds

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_SETTINGS = (
    *S3.values(),
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    STORAGE_FIRST_PATIENCE,
    STORAGE_PATIENCE,
    STORAGE_TIMEOUT,
)

_DENIED = {
    "401",
    "403",
    "AccessDenied",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}


@dataclass
class Connection:
    """A client, and the patience of its users."""

    client: "S3Client"
    patience: Patience


_connections: dict[tuple[int, tuple[str | None, ...]], Connection] = {}
_lock = threading.Lock()


def connection() -> Connection:
    """The connection for this process and its current AWS variables. Clients are thread-safe.

    Raises:
        UserError: the AWS configuration cannot be used.
    """
    key = (os.getpid(), tuple(os.environ.get(name) for name in _SETTINGS))
    with _lock:
        if key not in _connections:
            _connections[key] = Connection(_client(), Patience())
        return _connections[key]


def _client() -> "S3Client":
    own_endpoint = _endpoint()
    try:
        session = boto3.Session(*_credentials(), region_name=_own("REGION"))
        return session.client(
            "s3",
            endpoint_url=_own("ENDPOINT_URL"),
            # boto3 itself only reads AWS_DEFAULT_REGION.
            region_name=session.region_name or os.environ.get("AWS_REGION") or "us-east-1",
            config=Config(
                connect_timeout=5,
                read_timeout=seconds(STORAGE_TIMEOUT, 15),
                retries={"mode": "standard", "total_max_attempts": 1},  # see storage/retry.py
                max_pool_connections=32,
                signature_version="s3v4",
                s3={"addressing_style": "path"} if own_endpoint else {},
            ),
        )
    except (boto.BotoCoreError, ValueError) as error:
        raise UserError(f"the AWS configuration cannot be used: {error}") from error


def _own(key: str) -> str | None:
    return os.environ.get(S3[key]) or None


def _credentials() -> tuple[str | None, str | None, str | None]:
    """Our own keys, both or neither: never half of one identity and half of another."""
    key, secret = _own("ACCESS_KEY_ID"), _own("SECRET_ACCESS_KEY")
    if bool(key) != bool(secret):
        raise UserError(
            f"{S3['ACCESS_KEY_ID']} and {S3['SECRET_ACCESS_KEY']} go together: set both"
        )
    return key, secret, _own("SESSION_TOKEN") if key else None


def _endpoint() -> str | None:
    """The server's address; None for AWS or if the configuration file has it."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return _own("ENDPOINT_URL") or next(filter(None, map(os.environ.get, names)), None)


def code_of(error: Exception) -> str:
    """S3's error code; for answers without a body, the status: "404", "412"."""
    if isinstance(error, boto.ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return ""


def explain(error: Exception, code: str, operation: str, bucket: str, uri: str) -> str:
    """One sentence that says what is wrong and how to fix it; never contains a credential."""
    endpoint = _endpoint() or "AWS"
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return (
            f"no credentials for s3://{bucket}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or configure a profile"
        )
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket} at {endpoint}: create it, or correct the URI"
    if code in _DENIED:
        return (
            f"{endpoint} refuses these credentials for {uri} ({code}): check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and the bucket's policy"
        )
    if folder := full_disk(code):
        return (
            f"cannot {operation} {uri}: the disk under {folder} is full; free some space, and run "
            "the same command again"
        )
    if isinstance(error, boto.ParamValidationError):
        return f"cannot {operation} {uri}: {' '.join(str(error).split())}"
    if isinstance(error, boto.ClientError):
        text = error.response.get("Error", {}).get("Message", "")
        hint = _CHECKSUM_HINT if operation == "write" and _refuses_checksums(error, text) else ""
        return f"cannot {operation} {uri}: {endpoint} answered {code} ({text}){hint}"
    why = reason(error)
    return f"cannot {operation} {uri}: no sound answer from {endpoint} ({why}); is it reachable?"


_CHECKSUM_HINT = (
    "; if it knows no checksum headers, set AWS_REQUEST_CHECKSUM_CALCULATION=when_required"
)


def _refuses_checksums(error: boto.ClientError, text: str) -> bool:
    """Whether the answer may come from a server that does not know boto3's checksums."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    words = ("checksum", "trailer", "x-amz-", "aws-chunked", "content-encoding", "sha256")
    return status == 501 or any(word in text.lower() for word in words)
