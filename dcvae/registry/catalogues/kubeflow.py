"""Kubeflow Model Registry as a catalogue; versions have the same numbers there as here.

The server has no aliases: the leading version is the property ``champion`` of the registered model,
which one request changes. Any other property that is a number serves as an alias too.
"""

import asyncio
import os
from collections.abc import Awaitable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from dcvae.environment import REGISTRY_ADDRESS as ADDRESS
from dcvae.errors import UserError
from dcvae.registry.catalogues.base import CHAMPION, Catalogue, Entry

IN_CLUSTER = "http://model-registry-service.kubeflow.svc.cluster.local:8080"
"""Where Kubeflow's manifests put the server."""
TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
PLACE = "place"
AUTHOR = "dcvae"
PORTS = {"http": 8080, "https": 443}
Answer = TypeVar("Answer")


class KubeflowCatalogue(Catalogue):
    """A Kubeflow Model Registry."""

    title = "Kubeflow Model Registry"

    def __init__(self) -> None:
        self.address = (os.environ.get(ADDRESS) or IN_CLUSTER).rstrip("/")
        scheme, separator, _ = self.address.partition("://")
        if not separator or scheme not in PORTS:
            raise UserError(
                f"{ADDRESS}={self.address} is no address; write http://host:port or https://host"
            )
        try:
            from model_registry.core import ModelRegistryAPIClient
        except ImportError:
            raise UserError(
                "the registry kubeflow needs the client of Kubeflow Model Registry; install "
                "dcvae[kubeflow-registry]"
            ) from None
        token = _token()
        self.api: Any
        if scheme == "http":
            self.api = ModelRegistryAPIClient.insecure_connection(
                self.address, PORTS[scheme], token
            )
        elif token:
            self.api = ModelRegistryAPIClient.secure_connection(
                self.address, PORTS[scheme], user_token=token
            )
        else:
            raise UserError(
                f"Kubeflow Model Registry at {self.address} wants a token; put the path of its "
                f"file into {TOKEN_VARIABLE}"
            )

    def check(self, place: str, name: str) -> None:
        self._model(place, name)

    def numbers(self, place: str, name: str) -> set[int]:
        model = self._model(place, name)
        if model is None:
            return set()
        versions = [each for each in self._versions(model.id) if each.name.isdecimal()]
        return {int(each.name) for each in versions if self._artifact(each.id, name)}

    def add(self, place: str, name: str, entry: Entry) -> None:
        from model_registry.types import ModelArtifact, ModelVersion, RegisteredModel

        model = self._model(place, name) or self._made(
            lambda: self.api.upsert_registered_model(
                RegisteredModel(
                    name=name,
                    owner=AUTHOR,
                    description=f"DC-VAE models in {place}",
                    custom_properties={PLACE: place},
                )
            ),
            lambda: self._model(place, name),
        )
        number = str(entry.number)
        version = self._version(model.id, number) or self._made(
            lambda: self.api.upsert_model_version(
                ModelVersion(
                    name=number,
                    author=AUTHOR,
                    description=entry.card,
                    custom_properties={**entry.lineage(), **entry.metrics()},
                ),
                model.id,
            ),
            lambda: self._version(model.id, number),
        )
        if self._artifact(version.id, name) is None:
            artifact = ModelArtifact(
                name=name,
                uri=entry.uri,
                model_format_name="safetensors",
                model_format_version="1",
                custom_properties={"weights_sha256": entry.version.weights_sha256},
            )
            self._made(
                lambda: self.api.upsert_model_version_artifact(artifact, version.id),
                lambda: self._artifact(version.id, name),
            )

    def lead(self, place: str, name: str, number: int) -> None:
        model = self._model(place, name)
        if model is None:
            raise UserError(f"{self.title} at {self.address} has no model {name} any more")
        model.custom_properties = {**model.custom_properties, CHAMPION: str(number)}
        self._ask(self.api.upsert_registered_model(model))

    def find(self, place: str, name: str, alias: str) -> int | None:
        model = self._model(place, name)
        value = str((model.custom_properties or {}).get(alias, "")) if model else ""
        return int(value) if value.isdecimal() and alias != PLACE else None

    def _model(self, place: str, name: str) -> Any:
        """The registered model, or None; refused if it is not ours."""
        model = self._ask(self.api.get_registered_model_by_params(name))
        if model is None:
            return None
        found = (model.custom_properties or {}).get(PLACE)
        if found != place:
            raise self.foreign(name, found)
        return model

    def _version(self, model: str, number: str) -> Any:
        return self._ask(self.api.get_model_version_by_params(model, number))

    def _artifact(self, version: str, name: str) -> Any:
        return self._ask(self.api.get_model_artifact_by_params(name, version))

    def _versions(self, model: str) -> list[Any]:
        from model_registry.types import ListOptions

        options, found = ListOptions(limit=100), []
        while True:
            found += self._ask(self.api.get_model_versions(model, options))
            if not options.next_page_token:
                return found

    def _made(self, make: Any, look: Any) -> Any:
        """What ``make`` makes, or what ``look`` finds if it was made by another meanwhile."""
        try:
            return self._ask(make())
        except UserError:
            found = look()
            if found is None:
                raise
            return found

    def _ask(self, question: Awaitable[Answer]) -> Answer:
        """The answer; what goes wrong becomes one sentence."""
        import aiohttp
        from mr_openapi.exceptions import ApiException

        async def answer() -> Answer:
            return await question

        try:
            return _awaited(answer())
        except ApiException as error:
            raise UserError(
                f"{self.title} at {self.address} refused ({error.status} {error.reason}); see "
                f"{ADDRESS} and what its service account may do"
            ) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UserError(
                f"{self.title} at {self.address} cannot be reached ({error}); see {ADDRESS}"
            ) from error


def _awaited(answer: Coroutine[Any, Any, Answer]) -> Answer:
    """What ``answer`` returns, even if this thread already runs an event loop, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(answer)
    with ThreadPoolExecutor(1) as other:
        return other.submit(asyncio.run, answer).result()


def _token() -> str | None:
    """The token of the service account, where there is one."""
    path = Path(os.environ.get(TOKEN_VARIABLE) or TOKEN)
    try:
        return path.read_text().strip()
    except OSError:
        return None
