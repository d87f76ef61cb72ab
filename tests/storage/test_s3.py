"""What only a bucket can get wrong."""

import re

import pytest

from dcvae.errors import UserError
from dcvae.storage import open_storage
from dcvae.storage.base import Storage
from dcvae.storage.embedded import EmbeddedS3

ACTIONS = {
    "read": lambda storage: storage.read("k"),
    "stat": lambda storage: storage.stat("k"),
    "open": lambda storage: storage.open("k"),
    "write": lambda storage: storage.write("k", b"1"),
    "list": lambda storage: list(storage.list()),
    "delete": lambda storage: storage.delete("k"),
}


@pytest.fixture(params=ACTIONS)
def act(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    return ACTIONS[request.param]


def complaint(act, storage: Storage) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError) as caught:
        act(storage)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_missing_bucket_is_named(s3: EmbeddedS3, act) -> None:  # type: ignore[no-untyped-def]
    assert "there is no bucket no-such-bucket at http" in complaint(
        act, open_storage("s3://no-such-bucket/x")
    )


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_told_and_not_shown(  # type: ignore[no-untyped-def]
    s3_uri: str, act, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "mistyped-0000")
    text = complaint(act, open_storage(s3_uri))
    assert re.search("refuses these credentials.*check AWS_ACCESS_KEY_ID", text)
    assert "mistyped-0000" not in text


@pytest.fixture
def led_astray(s3: EmbeddedS3, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS variables that mean another storage, and ours beside them, as in a pipeline's step."""
    given = s3.environment()
    for key in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "ENDPOINT_URL", "REGION"):
        monkeypatch.setenv(f"DCVAE_S3_{key}", given[f"AWS_{key}"])
        monkeypatch.setenv(f"AWS_{key}", "http://127.0.0.1:9" if key == "ENDPOINT_URL" else "other")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-identity")


@pytest.mark.usefixtures("led_astray")
def test_our_own_variables_stand_before_those_of_aws(
    s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_storage(s3_uri).write("k", b"1")
    assert open_storage(s3_uri).read("k") == b"1"
    monkeypatch.delenv("DCVAE_S3_SECRET_ACCESS_KEY")
    with pytest.raises(UserError, match="go together: set both"):
        open_storage(s3_uri).read("k")


@pytest.mark.usefixtures("led_astray")
def test_a_server_started_for_a_run_is_used_whatever_the_variables_say(
    s3: EmbeddedS3, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DCVAE_S3_SECRET_ACCESS_KEY")
    open_storage(s3_uri).write("k", b"1")


def test_no_credentials(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UserError, match="no credentials for s3://"):
        open_storage(s3_uri).read("k")


def test_an_unreachable_endpoint_is_told_soon(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("DCVAE_STORAGE_FIRST_PATIENCE", "1")
    with pytest.raises(UserError, match=r"no sound answer from http://127\.0\.0\.1:9"):
        open_storage(s3_uri).read("k")


def test_an_object_replaced_while_it_is_read_is_no_blend(s3_uri: str) -> None:
    storage = open_storage(s3_uri)
    storage.write("k", b"a" * (8 << 20))
    with storage.open("k") as stream:
        assert stream.read(10) == b"a" * 10
        storage.write("k", b"b" * (8 << 20))
        stream.seek(6 << 20)  # too far for the connection that is open
        with pytest.raises(UserError, match="replaced while it was read"):
            stream.read(10)
