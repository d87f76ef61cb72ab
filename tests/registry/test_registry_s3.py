"""The registry on a real S3 server: races, and processes killed at any moment."""

import hashlib
import multiprocessing
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dcvae.errors import UserError
from dcvae.promotion import register
from dcvae.registry import history, list_versions, promote, resolve
from dcvae.registry.champion import read_state
from dcvae.registry.versions import open_model
from dcvae.snapshot import load_snapshot
from dcvae.storage import open_storage

from .conftest import FD, Bench

PASS = {FD: 1000.0}
KILLS = 8


@pytest.fixture
def bench(tmp_path, s3_uri) -> Bench:
    return Bench(tmp_path, f"{s3_uri}/registry")


def whole(bench: Bench, name: str = "digits") -> list[int]:
    """Numbers of the versions, after proving that each one's content is complete and unchanged."""
    model = open_model(bench.registry, name)
    versions = list_versions(bench.registry, name)
    for version in versions:
        folder = model.child(*version.folder.split("/"))
        assert (
            hashlib.sha256(folder.read("model.safetensors")).hexdigest() == version.weights_sha256
        )
        assert hashlib.sha256(folder.read("config.json")).hexdigest() == version.config_sha256
        assert folder.stat("model_card.md")
        assert folder.stat("evaluation.json")
    return [version.version for version in versions]


def test_sixteen_at_once_get_consecutive_versions_and_the_best_leads(bench):
    values = random.Random(1).sample(range(100, 200), 16)
    models = [bench.model(f"m{value}", float(value)) for value in values]
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda m: register(*m, bench.registry, "digits", PASS), models))
    assert sorted(result.version for result in results) == list(range(1, 17))
    assert whole(bench) == list(range(1, 17))
    best = results[values.index(min(values))]
    assert best.champion
    assert read_state(open_model(bench.registry, "digits")).version == best.version
    events = history(bench.registry, "digits")
    assert sorted(event.version for event in events) == list(range(1, 17))
    leader = None
    for event in events:  # no decision was lost or overtaken
        assert event.previous == leader
        leader = event.version if event.moved else leader


def test_one_model_registered_by_eight_at_once_is_one_version(bench):
    for number in (1, 2, 3):
        model = bench.model(f"same{number}", 100.0 - number)
        with ThreadPoolExecutor(8) as pool:
            results = list(
                pool.map(lambda _, m=model: register(*m, bench.registry, "digits", PASS), range(8))
            )
        assert {result.version for result in results} == {number}
        assert whole(bench) == list(range(1, number + 1))
        assert len(history(bench.registry, "digits")) == number


def test_a_killed_registration_leaves_no_half_version_and_its_repetition_completes_it(
    bench, tmp_path, monkeypatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # for what killed processes leave behind
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dcvae.registry"])
    model = bench.model("timing")
    first = context.Process(target=register, args=(*model, bench.registry, "timing", PASS))
    first.start()
    first.join()  # also warms the server that forks
    began = time.monotonic()
    again = context.Process(target=register, args=(*bench.model("t2"), bench.registry, "timing"))
    again.start()
    again.join()
    usual = time.monotonic() - began
    delays = random.Random(0)
    for i in range(KILLS):
        args = (*bench.model(f"k{i}", 100.0 - i), bench.registry, "digits", PASS)
        process = context.Process(target=register, args=args)
        process.start()
        time.sleep(delays.uniform(0.1, 0.95) * usual)
        process.kill()
        process.join()
        assert whole(bench) == list(range(1, len(whole(bench)) + 1))
        result = register(*args)
        assert result.champion
        assert result.version == i + 1
    assert whole(bench) == list(range(1, KILLS + 1))


def test_a_swapped_byte_is_refused_at_every_hop(bench):
    snapshot, evaluation = bench.model("a")
    source = open_storage(snapshot)
    original = source.read("model.safetensors")
    for place in range(0, len(original), 3):
        changed = bytearray(original)
        changed[place] ^= 1
        source.write("model.safetensors", bytes(changed))
        with pytest.raises(UserError, match="is damaged"):
            register(snapshot, evaluation, bench.registry, "digits", PASS)
    source.write("model.safetensors", original)
    uri = register(snapshot, evaluation, bench.registry, "digits", PASS).uri
    content = open_storage(resolve(uri))
    for place in range(0, len(original), 3):
        changed = bytearray(original)
        changed[place] ^= 1
        content.write("model.safetensors", bytes(changed))
        with pytest.raises(UserError, match="is damaged"):
            load_snapshot(open_storage(resolve(uri)))


def test_the_champion_can_be_moved_back(bench):
    for i, value in enumerate((100.0, 90.0)):
        register(*bench.model(f"m{i}", value), bench.registry, "digits", PASS)
    promote(bench.registry, "digits", 1, "rolled back")
    assert resolve(f"{bench.registry}/digits") == resolve(f"{bench.registry}/digits/versions/1")
