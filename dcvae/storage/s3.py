"""Objects in an S3 bucket."""

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from dcvae.errors import UserError
from dcvae.storage.base import Conflict, NotFound, ObjectInfo, Storage
from dcvae.storage.multipart import MULTIPART_FROM, put_parts
from dcvae.storage.retry import WrongAnswer, part_of
from dcvae.storage.s3_client import code_of, connection, explain
from dcvae.storage.s3_stream import S3Stream
from dcvae.storage.uri import check_key

T = TypeVar("T")

_CONFLICT = {"409", "412", "ConditionalRequestConflict", "PreconditionFailed"}
_MISSING = {"404", "NoSuchKey"}
_BELIEVED = 3
"""After this many equal bodies, the body is accepted although the etag does not confirm it."""
_FAULTS = (boto.ClientError, boto.BotoCoreError, HTTPError, OSError)


class S3Storage(Storage):
    """Objects of ``bucket`` below ``prefix``, through one boto3 client per process."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket, self.prefix = bucket, prefix
        self.uri = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return S3Storage, (self.bucket, self.prefix)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if length is not None and length <= 0:
            return b""
        wanted: dict[str, Any] = (
            {} if not start and length is None else {"Range": _range(start, length)}
        )

        def attempt(_: int) -> bytes:
            response = connection().client.get_object(**self._address(key), **wanted)
            if wanted:
                part_of(response, "ContentRange")
            return _body(response)

        try:
            return self._do("read", key, attempt)
        except _RangeEnd:
            return b""

    def read_listed(self, info: ObjectInfo) -> bytes:
        bodies: list[bytes] = []

        def attempt(_: int) -> bytes:
            response = connection().client.get_object(
                **self._address(info.key), IfMatch=f'"{info.etag}"'
            )
            body = _body(response)
            if len(body) != info.size or part_of(response, "ETag").strip('"') != info.etag:
                raise WrongAnswer(f"{len(body)} bytes, not the {info.size} that were listed")
            # The etag is usually a hash of the body. If it is not, equal bodies are believed.
            digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
            if re.fullmatch("[0-9a-f]{32}", info.etag) and digest != info.etag:
                bodies.append(body)
                if bodies.count(body) < _BELIEVED:
                    raise WrongAnswer("a body that is not the one listed")
            return body

        try:
            return self._do("read", info.key, attempt)
        except Conflict:
            raise UserError(
                f"{self.uri}/{info.key} was replaced since it was listed: start again"
            ) from None

    def open(self, key: str, start: int = 0) -> BinaryIO:
        found = self.stat(key)
        if found is None:
            raise NotFound(f"there is no {self.uri}/{key}")
        stream = io.BufferedReader(S3Stream(self._address(key), found), 1 << 20)
        stream.seek(start)
        return stream

    def write(
        self,
        key: str,
        data: bytes | Path,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> str:
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        if if_match is not None:
            condition["IfMatch"] = f'"{if_match}"'
        size = data.stat().st_size if isinstance(data, Path) else len(data)
        if size > MULTIPART_FROM:
            address = self._address(key)
            with_parts = lambda: put_parts(connection(), address, data, condition)  # noqa: E731
            return self._explained("write", key, with_parts)
        body = data.read_bytes() if isinstance(data, Path) else data

        def attempt(number: int) -> str:
            client, address = connection().client, self._address(key)
            try:
                response = client.put_object(**address, Body=body, **condition)
                return str(part_of(response, "ETag")).strip('"')
            except boto.ClientError as error:
                # An earlier attempt may have succeeded although its answer was lost.
                if not number or code_of(error) not in _CONFLICT:
                    raise
                present = client.get_object(**address)
                if present["Body"].read() != body:
                    raise
                return present["ETag"].strip('"')

        return self._do("write", key, attempt)

    def stat(self, key: str) -> ObjectInfo | None:
        def attempt(_: int) -> ObjectInfo:
            head = connection().client.head_object(**self._address(key))
            size, etag = part_of(head, "ContentLength"), part_of(head, "ETag")
            return ObjectInfo(key, size, etag.strip('"'))

        try:
            return self._do("stat", key, attempt)
        except NotFound:
            # HEAD has no body in its answer: a missing bucket looks like a missing key.
            self._do("stat", "", lambda _: connection().client.head_bucket(Bucket=self.bucket))
            return None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        request: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self._full(prefix)}
        found: list[ObjectInfo] = []
        while True:
            page = self._do("list", prefix, lambda _: _page(request))
            for item in page.get("Contents", []):
                key = item["Key"].removeprefix(self._full(""))
                if not key.endswith("/"):  # the marker of an empty folder
                    found.append(ObjectInfo(key, item["Size"], item["ETag"].strip('"')))
            if not page["IsTruncated"]:
                break
            request["ContinuationToken"] = page["NextContinuationToken"]
        # Unlike AWS, not every server lists in byte order.
        yield from sorted(found, key=lambda info: info.key.encode())

    def delete(self, key: str) -> None:
        self._do("delete", key, lambda _: connection().client.delete_object(**self._address(key)))

    def child(self, *parts: str) -> "S3Storage":
        inner = [check_key(part.strip("/")) for part in parts]
        return S3Storage(self.bucket, "/".join([p for p in (self.prefix, *inner) if p]))

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _address(self, key: str) -> dict[str, Any]:
        return {"Bucket": self.bucket, "Key": self._full(check_key(key))}

    def _do(self, operation: str, key: str, attempt: Callable[[int], T]) -> T:
        uri = f"{self.uri}/{key}"
        return self._explained(
            operation, key, lambda: connection().patience(operation, attempt, uri)
        )

    def _explained(self, operation: str, key: str, action: Callable[[], T]) -> T:
        """Run ``action``, turning what botocore raises into the errors of Storage."""
        uri = f"{self.uri}/{key}" if key else f"s3://{self.bucket}"
        try:
            return action()
        except _FAULTS as error:
            code = code_of(error)
            if code in _CONFLICT:
                raise Conflict(f"{uri} was written by somebody else") from error
            if code == "InvalidRange":
                raise _RangeEnd from error
            if code in _MISSING and key:
                raise NotFound(f"there is no {uri}") from error
            if code in _MISSING:
                code = "NoSuchBucket"
            raise UserError(explain(error, code, operation, self.bucket, uri)) from error


def _body(response: Any) -> bytes:
    """The whole body, read to its end so that its checksum is verified.

    Every answer of S3 has an etag; one without comes from something else, such as a proxy.
    """
    part_of(response, "ETag")
    body: bytes = response["Body"].read()
    if len(body) != response["ContentLength"]:
        raise WrongAnswer(f"{len(body)} of {response['ContentLength']} bytes came")
    return body


def _page(request: dict[str, Any]) -> Any:
    """One page of a listing."""
    page = connection().client.list_objects_v2(**request)
    if part_of(page, "IsTruncated"):
        part_of(page, "NextContinuationToken")
    return page


class _RangeEnd(Exception):  # noqa: N818
    """The range begins at or after the object's end."""


def _range(start: int, length: int | None) -> str:
    return f"bytes={start}-" + ("" if length is None else str(start + length - 1))
