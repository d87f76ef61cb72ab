"""A body as a seekable stream that survives broken connections."""

import io
from typing import Any

from botocore import exceptions as boto
from botocore.response import StreamingBody
from urllib3.exceptions import HTTPError

from dcvae.errors import UserError
from dcvae.storage.base import ObjectInfo
from dcvae.storage.retry import WrongAnswer, part_of, transient
from dcvae.storage.s3_client import code_of, connection, explain

_NEAR = 1 << 20  # bytes; shorter seeks read on instead of reconnecting


class S3Stream(io.RawIOBase):
    """Reads one object, reconnecting at the current byte after a fault.

    All connections ask for the same etag, so an object that is replaced meanwhile is an error
    instead of a mixture.
    """

    def __init__(self, address: dict[str, Any], info: ObjectInfo) -> None:
        super().__init__()
        self._address = address | {"IfMatch": f'"{info.etag}"'}
        self._size, self._etag = info.size, info.etag
        self._position = 0
        self._body: StreamingBody | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        target = max(0, base + offset)
        self._skip(target - self._position)
        self._position = target
        return target

    def _skip(self, count: int) -> None:
        """Move by ``count`` bytes: by reading if it is a little forward, else by reconnecting."""
        while self._body is not None and 0 < count <= _NEAR:
            chunk = self._more(count)
            if not chunk:
                break
            count -= len(chunk)
        if count:
            self._drop()

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        chunk = self._more(wanted) if self._body else b""
        if not chunk:
            try:
                chunk = connection().patience(
                    "read", lambda _: self._reconnect(wanted), self._uri()
                )
            except (boto.ClientError, boto.BotoCoreError, HTTPError, OSError) as error:
                raise UserError(self._complaint(error)) from error
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    def close(self) -> None:
        self._drop()
        super().close()

    def _complaint(self, error: Exception) -> str:
        code, bucket, uri = code_of(error), self._address["Bucket"], self._uri()
        if code in ("412", "PreconditionFailed"):
            return f"{uri} was replaced while it was read: start again"
        return explain(error, code, "read", bucket, uri)

    def _uri(self) -> str:
        return f"s3://{self._address['Bucket']}/{self._address['Key']}"

    def _more(self, wanted: int) -> bytes:
        assert self._body is not None
        try:
            return self._body.read(wanted)
        except Exception as error:
            self._drop()
            if not transient(error):
                raise
            return b""

    def _reconnect(self, wanted: int) -> bytes:
        self._drop()
        response = connection().client.get_object(**self._address, Range=f"bytes={self._position}-")
        self._body = response["Body"]
        try:
            if part_of(response, "ETag").strip('"') != self._etag:
                raise WrongAnswer("the body of another object")
            part_of(response, "ContentRange")
            chunk = self._body.read(wanted)
        except BaseException:
            self._drop()
            raise
        if not chunk:
            self._drop()
            raise ConnectionError(f"the body ended at byte {self._position} of {self._size}")
        return chunk

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
