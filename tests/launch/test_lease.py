"""Two trainings of one run: one works, the other is told; a killed one stands in nobody's way."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from dcvae.errors import UserError
from dcvae.launch import lease
from dcvae.launch.lease import leased
from dcvae.processes import stopping_on_sigterm
from dcvae.run_folder import LEASE
from dcvae.storage import open_storage, to_json

HOLDER = """
import sys, time
from dcvae.launch.lease import leased
from dcvae.storage import open_storage
with leased(open_storage(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
ELSEWHERE = {"machine": "another", "host": "far", "pid": 7, "started": 1.0, "since": "then"}


@pytest.fixture
def holder(uri: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease of ``uri``."""
    command = [sys.executable, "-c", HOLDER, uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_is_told_and_a_killed_first_is_followed_at_once(
    uri: str, holder: subprocess.Popen[str]
) -> None:
    run = open_storage(uri)
    with pytest.raises(UserError, match=f"is being trained by process {holder.pid} on "):
        leased(run).__enter__()
    holder.kill()
    holder.wait()
    began = time.monotonic()
    with leased(run):
        assert time.monotonic() - began < 2
        with pytest.raises(UserError, match=f"process {os.getpid()} on "):
            leased(run).__enter__()
    assert run.stat(LEASE) is None


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("RENEWED", 0.1), ("STALE", 0.8), ("_LOOK", 0.05)):
        monkeypatch.setattr(lease, name, seconds)


@pytest.mark.parametrize("body", [to_json(ELSEWHERE), b"{", b"[1]", b"\xff"])
def test_one_left_behind_elsewhere_grows_stale(uri: str, quickly: None, body: bytes) -> None:
    run = open_storage(uri)
    run.write(LEASE, body)
    began = time.monotonic()
    with leased(run):
        assert time.monotonic() - began > 0.7


def test_one_renewed_elsewhere_is_respected(uri: str, quickly: None) -> None:
    run, done = open_storage(uri), threading.Event()

    def renew() -> None:
        n = 0
        while not done.wait(0.1):
            n += 1
            run.write(LEASE, to_json({**ELSEWHERE, "n": n}))

    run.write(LEASE, to_json(ELSEWHERE))
    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(UserError, match="is being trained by process 7 on far since then"):
            leased(run).__enter__()
    finally:
        done.set()
        thread.join()


def test_a_holder_that_was_taken_for_dead_stops(uri: str, quickly: None) -> None:
    run = open_storage(uri)

    def work() -> None:
        with leased(run), stopping_on_sigterm():
            run.write(LEASE, to_json(ELSEWHERE))
            time.sleep(10)

    with pytest.raises(UserError, match="was taken over by another training"):
        work()
    assert run.read_json(LEASE) == ELSEWHERE, "the other's lease is left alone"
