"""The catalogue in Kubeflow Model Registry, through its client."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dcvae import doctor
from dcvae.errors import UserError
from dcvae.promotion import register
from dcvae.registry import open_catalogue, promote, resolve
from tests.registry.conftest import FD, Bench
from tests.registry.model_registry_server import ModelRegistryServer

PASS = {FD: 200.0}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModelRegistryServer]:
    """A server, and the environment that names it."""
    server = ModelRegistryServer()
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("DCVAE_REGISTRY", "kubeflow")
    monkeypatch.setenv("DCVAE_REGISTRY_ADDRESS", server.address)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    yield server
    server.close()


def registered(bench: Bench, tag: str, value: float = 100.0):
    models = bench.model(tag, value)
    return register(*models, bench.registry, "digits", PASS, catalogue=open_catalogue())


def test_versions_with_metrics_lineage_card_and_a_champion(
    bench: Bench, server: ModelRegistryServer
) -> None:
    registered(bench, "a", 100.0)
    registered(bench, "b", 120.0)
    registered(bench, "c", 90.0)
    (model,) = server.models.values()
    place = f"file://{bench.registry}/digits"
    assert server.properties(model) == {"place": place, "champion": "3"}
    first, second, third = server.versions.values()
    assert [v["name"] for v in (first, second, third)] == ["1", "2", "3"]
    shown = server.properties(second)
    assert shown[FD] == 120.0
    assert shown["dataset_fingerprint"] == "f" * 64
    assert shown["trained_on_uri"] == "s3://data/digits"
    assert first["description"].startswith("# digits")
    artifact = server.artifacts[next(k for k, v in server.parents.items() if v == third["id"])]
    assert artifact["modelFormatName"] == "safetensors"
    assert artifact["uri"] == resolve(f"{bench.registry}/digits@3")
    assert (Path(artifact["uri"].removeprefix("file://")) / "model.safetensors").exists()
    assert server.tokens == {"secret"}


def test_aliases_are_asked_of_the_server(bench: Bench, server: ModelRegistryServer) -> None:
    registered(bench, "a", 100.0)
    registered(bench, "b", 90.0)
    place, catalogue = f"{bench.registry}/digits", open_catalogue()
    assert resolve(f"{place}@champion") == resolve(f"{place}@2")
    assert resolve(place) == resolve(f"{place}@2")
    promote(bench.registry, "digits", 1, catalogue=catalogue)
    assert resolve(f"{place}@champion") == resolve(f"{place}@1")
    (model,) = server.models.values()
    model["customProperties"]["staging"] = {
        "metadataType": "MetadataStringValue",
        "string_value": "2",
    }
    assert resolve(f"{place}@staging") == resolve(f"{place}@2")
    with pytest.raises(UserError, match=r"has no version of .*/digits with the alias beta"):
        resolve(f"{place}@beta")


def test_it_is_asked_from_where_a_loop_is_at_work_as_in_a_notebook(
    bench: Bench, server: ModelRegistryServer
) -> None:
    async def cell() -> str:
        registered(bench, "a")
        return resolve(f"{bench.registry}/digits@champion")

    with ThreadPoolExecutor(1) as notebook:  # this thread may have a browser's loop already
        found = notebook.submit(asyncio.run, cell()).result()
    assert found == resolve(f"{bench.registry}/digits@1")


def test_what_was_interrupted_is_completed(bench: Bench, server: ModelRegistryServer) -> None:
    server.refuse_artifacts = True
    with pytest.raises(UserError, match=r"refused \(503 Service Unavailable\)"):
        registered(bench, "a")
    assert len(server.versions) == 1
    assert resolve(f"{bench.registry}/digits", "s3") == resolve(f"{bench.registry}/digits@1")
    server.refuse_artifacts = False
    assert registered(bench, "a").version == 1
    assert len(server.versions) == len(server.artifacts) == 1
    (model,) = server.models.values()
    assert server.properties(model)["champion"] == "1"


def test_several_at_once_leave_one_of_each(bench: Bench, server: ModelRegistryServer) -> None:
    models = [bench.model(str(n), 100.0 - n) for n in range(4)]
    catalogues = [open_catalogue() for _ in models]

    def add(number: int) -> None:
        pair, catalogue = models[number], catalogues[number]
        register(*pair, bench.registry, "digits", PASS, catalogue=catalogue)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(v["name"] for v in server.versions.values()) == [str(n) for n in range(1, 5)]
    assert len(server.artifacts) >= 4
    (model,) = server.models.values()
    champion = server.properties(model)["champion"]
    assert resolve(f"{bench.registry}/digits@{champion}") == resolve(
        f"{bench.registry}/digits", "s3"
    )


def test_a_name_that_is_taken_is_refused_before_anything_is_written(
    bench: Bench, server: ModelRegistryServer
) -> None:
    server.create_model({}, {"name": "digits"})
    with pytest.raises(UserError, match="already has a model digits, which was not put there"):
        registered(bench, "a")
    assert not Path(bench.registry).exists()


def test_a_server_that_is_not_there(
    bench: Bench, server: ModelRegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCVAE_REGISTRY_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="cannot be reached"):
        registered(bench, "a")
    assert not Path(bench.registry).exists()
    monkeypatch.setenv("DCVAE_REGISTRY_ADDRESS", "https://127.0.0.1:9")
    monkeypatch.delenv("KF_PIPELINES_SA_TOKEN_PATH")
    with pytest.raises(UserError, match="wants a token"):
        open_catalogue()


def test_the_doctor_asks_it(server: ModelRegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = doctor.catalogue()
    assert found.level == "ok"
    assert found.text == f"Kubeflow Model Registry answers at {server.address}"
    monkeypatch.setenv("DCVAE_REGISTRY_ADDRESS", "http://127.0.0.1:9")
    (found,) = doctor.catalogue()
    assert found.level == "fail"
    monkeypatch.delenv("DCVAE_REGISTRY")
    assert not list(doctor.catalogue())
