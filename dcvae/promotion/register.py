"""Registers a model: upload it, give it a number, and let the gate decide about the champion."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcvae.errors import UserError
from dcvae.evaluation.results import RESULT, Evaluation, read_evaluation
from dcvae.promotion.card import model_card
from dcvae.promotion.judge import check_thresholds, judge
from dcvae.registry.catalogues import Catalogue
from dcvae.registry.champion import Event, State, decide, read_state
from dcvae.registry.publication import publish
from dcvae.registry.resolve import resolve
from dcvae.registry.versions import CARD, Version, add_version, find, open_model, read_version
from dcvae.snapshot import CONFIG, WEIGHTS, describe_snapshot
from dcvae.storage import Storage, join, open_storage, timestamp
from dcvae.version import __version__

CHUNK = 1 << 20


@dataclass(frozen=True)
class Registration:
    """The outcome of a registration."""

    version: int
    uri: str
    """``<registry>/<name>/versions/<version>``, which ``dcvae.load`` takes."""
    champion: bool
    """Whether the gate made it the champion."""
    reason: str
    """Why, in one sentence."""
    previous: int | None
    """The champion before the decision."""


@dataclass(frozen=True)
class Aids:
    """What measuring a champion again may take besides the data."""

    reference: str | None = None
    """URI of the folder with statistics of real images."""
    weights: str | None = None
    """Path or URI of Inception's weights."""
    perceptual_weights: str | None = None
    """Path or URI of the perceptual network's weights."""


NO_AIDS = Aids()


def register(
    snapshot: str,
    evaluation: str,
    registry: str,
    name: str,
    thresholds: dict[str, float] | None = None,
    lineage: dict[str, Any] | None = None,
    data: str | None = None,
    catalogue: Catalogue | None = None,
    aids: Aids = NO_AIDS,
) -> Registration:
    """Register a snapshot with its evaluation as a version of ``name``, and judge it.

    The same content gives the same version, and a decision that was made stands: repeating a
    registration changes nothing, not even after another version was promoted by hand.

    Args:
        snapshot: URI of the snapshot folder; empty: the one that was evaluated.
        evaluation: URI of the folder with its ``evaluation.json``.
        thresholds: largest value, by metric name, that passes the gate.
        lineage: what else is known of its origin (run, code version, pipeline run).
        data: URI of the shard set of the evaluation. If the champion was measured differently, for
            example on older data, it is measured again on this set, so that the two can be
            compared. Without it, such a champion stays.
        catalogue: another registry that shows the model's versions and its champion.
        aids: what measuring the champion again may take.

    Raises:
        UserError: the weights are damaged or not the evaluated ones, a threshold's metric was not
            measured, the registry cannot be written, or the catalogue cannot be updated: then
            everything is in the bucket, and the same call again updates the catalogue.
    """
    limits = dict(thresholds or {})
    measured, model = open_storage(evaluation), open_model(registry, name)
    snapshot = snapshot or read_evaluation(measured).snapshot.uri
    source = open_storage(snapshot)
    description = describe_snapshot(source)
    result = read_evaluation(measured)
    check_thresholds(limits, result)
    if catalogue:
        catalogue.check(model.uri, name)
    with _weights(source, description["weights_sha256"], result) as file:
        config = source.read(CONFIG)
        draft = _draft(config, description, result, lineage or {}, snapshot)
        version, seen = find(model, draft.digest)
        if version is None:
            _upload(model.child(*draft.folder.split("/")), file, config, measured, draft, name)
            version = add_version(model, draft, after=seen)
    state = decide(model, lambda state: _gate(model, state, version, limits, data, aids))
    event = _decided(state, version, limits, data)
    assert event is not None, "decide() wrote the event or found it"
    if catalogue:
        publish(model, name, catalogue)
    uri = join(registry, name, "versions", str(version.version))
    return Registration(version.version, uri, event.moved, event.reason, event.previous)


def measure_champion(
    registry: str,
    name: str,
    evaluation: str,
    data: str,
    aids: Aids = NO_AIDS,
) -> None:
    """Measure the champion of ``name`` as ``evaluation`` was, unless that has been done.

    Called on a machine with a GPU before ``register``, which then finds it done.
    """
    result, model = read_evaluation(open_storage(evaluation)), open_model(registry, name)
    champion = read_state(model).version
    if champion:
        version = read_version(model, champion)
        if version.evaluation.differences(result):
            _measured_alike(model, version, result, data, aids)


@contextmanager
def _weights(source: Storage, expected: str, result: Evaluation) -> Iterator[Path]:
    """A local copy of the weights, verified to be those that were saved and evaluated."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        sha256 = hashlib.sha256()
        with source.open(WEIGHTS) as stream, path.open("wb") as copy:
            while chunk := stream.read(CHUNK):
                sha256.update(chunk)
                copy.write(chunk)
        found = sha256.hexdigest()
        if found != expected:
            raise UserError(
                f"{source.uri}/{WEIGHTS} is damaged: its SHA-256 is {found[:16]}…, its {CONFIG} "
                f"says {expected[:16]}…; use another snapshot"
            )
        if found != result.snapshot.weights_sha256:
            raise UserError(
                f"the evaluation is of other weights ({result.snapshot.weights_sha256[:16]}…) than "
                f"those of {source.uri} ({found[:16]}…); evaluate this snapshot first"
            )
        yield path


def _draft(
    config: bytes,
    description: dict[str, Any],
    result: Evaluation,
    lineage: dict[str, Any],
    snapshot: str,
) -> Version:
    config_sha256 = hashlib.sha256(config).hexdigest()
    parts = [description["weights_sha256"], config_sha256, result.digest()]
    return Version(
        version=0,
        digest=hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        weights_sha256=description["weights_sha256"],
        config_sha256=config_sha256,
        evaluation=result,
        lineage={
            "snapshot": snapshot,
            "images": description["images"],
            "trained_on": description["dataset"],
            "trained_with": description["dcvae_version"],
            **_selected(result),
            "registered_with": __version__,
            **lineage,
        },
        created_at=timestamp(),
    )


def _selected(result: Evaluation) -> dict[str, Any]:
    """Which snapshots of the run it was chosen from, and by which metric."""
    chosen = result.selection
    return {"selection": chosen.model_dump(mode="json")} if chosen else {}


def _upload(
    folder: Storage, weights: Path, config: bytes, measured: Storage, draft: Version, name: str
) -> None:
    folder.write(WEIGHTS, weights)
    folder.write(CONFIG, config)
    for info in measured.list():
        if info.key == RESULT or ("/" not in info.key and info.key.endswith((".html", ".png"))):
            folder.write(info.key, measured.read(info.key))
    folder.write(CARD, model_card(name, draft, json.loads(config)).encode())


def _gate(
    model: Storage,
    state: State,
    version: Version,
    thresholds: dict[str, float],
    data: str | None,
    aids: Aids,
) -> Event | None:
    if _decided(state, version, thresholds, data):
        return None
    champion = read_version(model, state.version) if state.version else None
    measured = champion.evaluation if champion else None
    if champion and data and champion.evaluation.differences(version.evaluation):
        measured = _measured_alike(model, champion, version.evaluation, data, aids)
    verdict = judge(version.evaluation, measured, state.version, thresholds)
    return Event(
        at=timestamp(),
        by="gate",
        version=version.version,
        moved=verdict.passed,
        previous=state.version,
        reason=verdict.reason,
        thresholds=thresholds,
        data=data,
    )


def _measured_alike(
    model: Storage, champion: Version, like: Evaluation, data: str, aids: Aids
) -> Evaluation:
    """The champion, measured again as the candidate was; stored, so that it is done only once."""
    from dcvae.evaluation import evaluate

    name = f"{champion.version:06d}-{like.protocol.slug}-{like.dataset.fingerprint[:8]}"
    out = join(model.uri, "comparisons", name)
    snapshot = resolve(join(model.uri, "versions", str(champion.version)))
    return evaluate(
        snapshot,
        data,
        out,
        aids.reference,
        protocol=like.protocol,
        weights=aids.weights,
        perceptual_weights=aids.perceptual_weights,
    )


def _decided(
    state: State, version: Version, thresholds: dict[str, float], data: str | None
) -> Event | None:
    """The gate's earlier decision about this version under the same conditions, if any."""
    for event in reversed(state.events):
        asked = event.version == version.version, event.thresholds == thresholds, event.data == data
        if event.by == "gate" and all(asked):
            return event
    return None
