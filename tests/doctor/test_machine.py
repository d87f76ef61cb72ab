"""``dcvae doctor`` on this machine, and as it would be on others."""

from collections import namedtuple
from importlib import import_module

import pytest

checks = import_module("dcvae.doctor.machine")  # its function has the module's name

Usage = namedtuple("Usage", "total used free")


def told(subject: str) -> list[tuple[str, str]]:
    return [(each.level, each.text) for each in checks.machine() if each.subject == subject]


def test_too_little_shared_memory_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: Usage(64 * 2**20, 0, 2**40))
    ((level, text),) = told("shm")
    assert level == "note"
    assert text.startswith("64 MiB in /dev/shm, too little for several GPUs")


def test_a_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://somebody:secret@proxy.example.org:3128")
    monkeypatch.setenv("no_proxy", "localhost,minio")
    ((level, text),) = told("proxy")
    assert level == "note"
    assert "through proxy.example.org, but to localhost,minio directly" in text
    assert "secret" not in text
    monkeypatch.delenv("HTTPS_PROXY")
    assert not told("proxy")
