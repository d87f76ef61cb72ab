"""MLflow as a catalogue: a version is a model version with a run that carries its metrics.

The run is in the experiment ``dcvae/<name>``, so that MLflow can compare versions like runs. MLflow
numbers versions itself; our number is in the tag ``dcvae.version``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dcvae.errors import UserError
from dcvae.registry.catalogues.base import CHAMPION, Catalogue, Entry

ADDRESSES = ("MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI")
PLACE, NUMBER = "dcvae.place", "dcvae.version"
CARD_LENGTH = 5000
"""Longest description that MLflow's database has room for, in characters."""
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""Error codes of MLflow's stores for an alias that does not exist."""


class MlflowCatalogue(Catalogue):
    """The registry of an MLflow server, or of a database that MLflow opens."""

    title = "MLflow"

    def __init__(self) -> None:
        found = next((os.environ[name] for name in ADDRESSES if os.environ.get(name)), None)
        if not found:
            raise UserError(
                "the registry mlflow has no address; set MLFLOW_TRACKING_URI, such as "
                "http://mlflow.example.org:5000"
            )
        self.address = found
        # A step that only reports should neither send usage statistics nor wait for minutes.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise UserError(
                "the registry mlflow needs MLflow's client; install dcvae[mlflow-registry]"
            ) from None
        self.client: Any = MlflowClient()

    def check(self, place: str, name: str) -> None:
        if self.address.startswith("http") and not place.startswith("s3://"):
            raise UserError(
                f"an MLflow server shows only models that lie in a bucket, not in {place}; use a "
                "registry at s3://bucket/prefix"
            )
        self._model(place, name)

    def numbers(self, place: str, name: str) -> set[int]:
        self._model(place, name)
        return set(self._shown(name))

    def add(self, place: str, name: str, entry: Entry) -> None:
        with self._asked():
            if self._model(place, name) is None:
                self._create(place, name)
            self.client.create_model_version(
                name,
                source=entry.uri,
                run_id=self._run(name, entry),
                tags={NUMBER: str(entry.number), "dcvae.digest": entry.version.digest},
                description=_shortened(entry),
                await_creation_for=None,
            )
        self._keep_one(name, entry.number)

    def _keep_one(self, name: str, number: int) -> None:
        """Keep only the earliest of the versions that two registrations at once have created."""
        from mlflow.exceptions import MlflowException

        with self._asked():
            for twice in self._all(name, number)[1:]:
                try:
                    self.client.delete_model_version(name, twice.version)
                except MlflowException as error:
                    if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # the other one was faster
                        raise

    def lead(self, place: str, name: str, number: int) -> None:
        with self._asked():
            self.client.set_registered_model_alias(name, CHAMPION, self._shown(name)[number])

    def find(self, place: str, name: str, alias: str) -> int | None:
        if self._model(place, name) is None:
            return None
        from mlflow.exceptions import MlflowException

        with self._asked():
            try:
                found = self.client.get_model_version_by_alias(name, alias)
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return None
                raise
        number = found.tags.get(NUMBER, "")
        if not number.isdecimal():
            raise UserError(
                f"{name}@{alias} is version {found.version} in MLflow, which was not put there by "
                "dcvae; give the alias to another version"
            )
        return int(number)

    def _model(self, place: str, name: str) -> Any:
        """The registered model, or None; refused if it is not ours."""
        from mlflow.exceptions import MlflowException

        with self._asked():
            try:
                model = self.client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
        if model.tags.get(PLACE) != place:
            raise self.foreign(name, model.tags.get(PLACE))
        return model

    def _create(self, place: str, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(
                name, tags={PLACE: place}, description=f"DC-VAE models in {place}"
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # by another one at the same time
                raise

    def _all(self, name: str, number: int | None = None) -> list[Any]:
        """MLflow's versions that are ours, earliest first; only those of ``number``, if given."""
        found: list[Any] = []
        page = self.client.search_model_versions(f"name='{name}'")
        while page:
            found += [each for each in page if each.tags.get(NUMBER, "").isdecimal()]
            if not page.token:
                break
            page = self.client.search_model_versions(f"name='{name}'", page_token=page.token)
        if number is not None:
            found = [each for each in found if each.tags[NUMBER] == str(number)]
        return sorted(found, key=lambda each: int(each.version))

    def _shown(self, name: str) -> dict[int, str]:
        """MLflow's number for each of ours; of the earliest if there are several."""
        with self._asked():
            return {int(each.tags[NUMBER]): each.version for each in reversed(self._all(name))}

    def _run(self, name: str, entry: Entry) -> str:
        """The run with the version's metrics, which is created if it does not exist."""
        from mlflow.entities import Metric, Param, RunTag

        experiment = self._experiment(f"dcvae/{name}")
        digest = entry.version.digest
        found = self.client.search_runs(
            [experiment], f"tags.`dcvae.digest` = '{digest}' and attributes.status = 'FINISHED'"
        )
        if found:
            return str(found[0].info.run_id)
        tags = {NUMBER: str(entry.number), "dcvae.digest": digest}
        run = self.client.create_run(experiment, tags=tags, run_name=f"version {entry.number}")
        run_id = str(run.info.run_id)
        now = int(run.info.start_time)
        images = entry.version.evaluation.snapshot.images
        metrics = [Metric(key, value, now, images) for key, value in entry.metrics().items()]
        lineage = entry.lineage()
        params = [Param(key, lineage.pop(key)) for key in ("preset", "method", "extractor")]
        self.client.log_batch(
            run_id, metrics, params, [RunTag(f"dcvae.{k}", v) for k, v in lineage.items()]
        )
        self.client.set_terminated(run_id)
        return run_id

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name))
            except MlflowException as error:
                found = self.client.get_experiment_by_name(name)
                if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise UserError(
                f"the experiment {name} was deleted in MLflow; restore it (mlflow experiments "
                f"restore --experiment-id {found.experiment_id})"
            )
        return str(found.experiment_id)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Wraps requests; turns errors into UserErrors."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            said = str(error).strip().splitlines()[0].rstrip(".")
            raise UserError(
                f"MLflow at {self.address} cannot be used: {said}; see MLFLOW_TRACKING_URI and the "
                "server"
            ) from error


def _shortened(entry: Entry) -> str:
    """The card as a description; one that is too long ends with the URI of the whole card."""
    if len(entry.card) <= CARD_LENGTH:
        return entry.card
    rest = f"\n\n… the whole card: {entry.uri}/model_card.md"
    return entry.card[: CARD_LENGTH - len(rest)] + rest
