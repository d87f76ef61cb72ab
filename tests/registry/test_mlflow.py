"""The catalogue in MLflow, on its real server."""

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dcvae.errors import UserError
from dcvae.promotion import register
from dcvae.registry import list_versions, open_catalogue, promote, resolve
from dcvae.storage import open_storage
from tests.registry.conftest import FD, Bench
from tests.registry.mlflow_server import mlflow_server

PASS = {FD: 200.0}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The session's MLflow."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's own client of it; the environment names it."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("DCVAE_REGISTRY", "mlflow")
    from mlflow import MlflowClient

    return MlflowClient(server)


@pytest.fixture
def bench(bench: Bench, s3_uri: str) -> Bench:
    """The bench with its registry in a bucket."""
    bench.registry = s3_uri
    return bench


@pytest.fixture
def name(bench: Bench) -> str:
    """A model's name for this test alone."""
    return f"digits-{bench.registry[-8:]}"


def registered(bench: Bench, name: str, tag: str, value: float = 100.0, **options: Any):
    models = bench.model(tag, value)
    return register(*models, bench.registry, name, PASS, catalogue=open_catalogue(), **options)


def versions(client: Any, name: str) -> dict[str, Any]:
    """Our number → MLflow's version."""
    return {v.tags["dcvae.version"]: v for v in client.search_model_versions(f"name='{name}'")}


def test_versions_with_metrics_lineage_card_and_a_champion(
    bench: Bench, client: Any, name: str
) -> None:
    for tag, value in (("a", 100.0), ("b", 120.0), ("c", 90.0)):
        registered(bench, name, tag, value, lineage={"pipeline_run": f"run of {tag}"})
    found = versions(client, name)
    assert sorted(found) == ["1", "2", "3"]
    place = f"{bench.registry}/{name}"
    assert found["2"].source == resolve(f"{place}@2")
    assert open_storage(found["2"].source).read("model.safetensors") == b"weights of b"
    assert found["2"].description.startswith(f"# {name}")
    run = client.get_run(found["2"].run_id)
    assert run.data.metrics == {FD: 120.0}
    assert run.data.params == {
        "preset": "smoke",
        "method": "dcvae",
        "extractor": "efficientnet-lite0",
    }
    assert run.data.tags["dcvae.dataset_fingerprint"] == "f" * 64
    assert run.data.tags["dcvae.pipeline_run"] == "run of b"
    assert run.info.status == "FINISHED"
    assert client.get_model_version_by_alias(name, "champion").tags["dcvae.version"] == "3"
    before = len(client.search_runs([run.info.experiment_id]))
    registered(bench, name, "c", 90.0)
    assert sorted(versions(client, name)) == ["1", "2", "3"]
    assert len(client.search_runs([run.info.experiment_id])) == before == 3


def test_aliases_are_asked_of_mlflow(bench: Bench, client: Any, name: str) -> None:
    registered(bench, name, "a", 100.0)
    registered(bench, name, "b", 90.0)
    place, catalogue = f"{bench.registry}/{name}", open_catalogue()
    assert resolve(f"{place}@champion") == resolve(f"{place}@2")
    promote(bench.registry, name, 1, catalogue=catalogue)
    assert resolve(f"{place}@champion") == resolve(f"{place}@1")
    client.set_registered_model_alias(name, "staging", versions(client, name)["2"].version)
    assert resolve(f"{place}@staging") == resolve(f"{place}@2")
    with pytest.raises(UserError, match=r"has no version of .* with the alias beta"):
        resolve(f"{place}@beta")
    with pytest.raises(UserError, match="set DCVAE_REGISTRY to the registry that has them"):
        resolve(f"{place}@staging", "s3")


def test_what_it_was_not_told_is_made_up_for(bench: Bench, client: Any, name: str) -> None:
    for tag, value in (("a", 100.0), ("b", 90.0)):
        register(*bench.model(tag, value), bench.registry, name, PASS)
    assert not versions(client, name)
    registered(bench, name, "c", 95.0)
    assert sorted(versions(client, name)) == ["1", "2", "3"]
    assert client.get_model_version_by_alias(name, "champion").tags["dcvae.version"] == "2"


def test_several_at_once_leave_one_of_each(bench: Bench, client: Any, name: str) -> None:
    models = [bench.model(str(n), 100.0 - n) for n in range(4)]
    catalogues = [open_catalogue() for _ in models]

    def add(number: int) -> None:
        pair, catalogue = models[number], catalogues[number]
        register(*pair, bench.registry, name, PASS, catalogue=catalogue)

    threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = client.search_model_versions(f"name='{name}'")
    assert sorted(v.tags["dcvae.version"] for v in found) == ["1", "2", "3", "4"]
    assert len(list_versions(bench.registry, name)) == 4
    champion = client.get_model_version_by_alias(name, "champion").tags["dcvae.version"]
    place = f"{bench.registry}/{name}"
    assert resolve(f"{place}@{champion}") == resolve(place, "s3")


def test_a_name_that_is_taken_is_refused_before_anything_is_written(
    bench: Bench, client: Any, name: str
) -> None:
    client.create_registered_model(name)
    with pytest.raises(
        UserError, match=r"already has a model .*, which was not put there by dcvae"
    ):
        registered(bench, name, "a")
    assert not list(open_storage(bench.registry).list())


def test_a_folder_is_refused_before_anything_is_written(
    bench: Bench, client: Any, name: str, tmp_path: Any
) -> None:
    bench.registry = str(tmp_path / "registry")
    with pytest.raises(UserError, match="only models that lie in a bucket, not in file://"):
        registered(bench, name, "a")
    assert not (tmp_path / "registry").exists()


def test_a_server_that_is_not_there(
    bench: Bench, client: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be used"):
        registered(bench, name, "a")
    assert not list(open_storage(bench.registry).list())


def test_without_address_or_client_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI"):
        open_catalogue("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for kind, module, extra in (
        ("mlflow", "mlflow", "mlflow-registry"),
        ("kubeflow", "model_registry.core", "kubeflow-registry"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UserError, match=rf"install dcvae\[{extra}\]"):
            open_catalogue(kind)
    with pytest.raises(UserError, match="there is no registry 'wandb'; use one of: s3, kubeflow"):
        open_catalogue("wandb")
    assert open_catalogue("s3") is None
