"""Uploads large objects in parts; they appear whole or not at all."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto

from dcvae.storage.retry import part_of
from dcvae.storage.s3_client import Connection, code_of

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, UploadPartOutputTypeDef

MULTIPART_FROM = 64 << 20  # bytes
_PART = 16 << 20
_MOST_PARTS = 9_000  # S3 allows 10,000


def put_parts(
    connection: Connection,
    address: dict[str, Any],
    data: bytes | Path,
    condition: dict[str, Any],
) -> str:
    """Upload in parallel parts, complete the upload under ``condition``, and return the etag."""
    client, patience = connection.client, connection.patience
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    uri = f"s3://{address['Bucket']}/{address['Key']}"
    part = max(_PART, ceil(size / _MOST_PARTS))
    upload = patience(
        "write", lambda _: part_of(client.create_multipart_upload(**address), "UploadId"), uri
    )

    def send(number: int) -> "CompletedPartTypeDef":
        body = _slice(data, (number - 1) * part, part)

        def attempt(_: int) -> "UploadPartOutputTypeDef":
            found = client.upload_part(**address, UploadId=upload, PartNumber=number, Body=body)
            part_of(found, "ETag")
            return found

        response = patience("write", attempt, uri)
        done: CompletedPartTypeDef = {"PartNumber": number, "ETag": response["ETag"]}
        if "ChecksumCRC32" in response:
            done["ChecksumCRC32"] = response["ChecksumCRC32"]
        return done

    try:
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(send, range(1, ceil(size / part) + 1)))
        return _complete(connection, address, upload, parts, condition, size)
    except BaseException:
        with suppress(boto.ClientError, boto.BotoCoreError, OSError):
            client.abort_multipart_upload(**address, UploadId=upload)
        raise


def _complete(
    connection: Connection,
    address: dict[str, Any],
    upload: str,
    parts: "list[CompletedPartTypeDef]",
    condition: dict[str, Any],
    size: int,
) -> str:
    client = connection.client

    def attempt(number: int) -> str:
        try:
            response = client.complete_multipart_upload(
                **address, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
            )
        except boto.ClientError as error:
            # The upload is gone: an earlier attempt completed it, but its answer was lost.
            if number and code_of(error) in ("NoSuchUpload", "PreconditionFailed"):
                head = client.head_object(**address)
                count = head["ETag"].strip('"').rpartition("-")[2]
                if head["ContentLength"] == size and count == str(len(parts)):
                    return head["ETag"].strip('"')
            raise
        return str(part_of(response, "ETag")).strip('"')

    return connection.patience("write", attempt, f"s3://{address['Bucket']}/{address['Key']}")


def _slice(data: bytes | Path, start: int, length: int) -> bytes:
    if isinstance(data, bytes):
        return data[start : start + length]
    with data.open("rb") as stream:
        stream.seek(start)
        return stream.read(length)
