"""The evaluation of a snapshot, or of the best of a run: measure, show, write the result last."""

import hashlib
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dcvae.config import parse_config
from dcvae.errors import UserError
from dcvae.evaluation.ahead import check_measurable
from dcvae.evaluation.protocol import Protocol, read_protocol
from dcvae.evaluation.results import (
    REPORT,
    RESULT,
    Confusion,
    Dataset,
    Evaluation,
    Selection,
    Snapshot,
    read_evaluation,
)
from dcvae.progress import OnProgress
from dcvae.shards.manifest import Manifest, load_manifest
from dcvae.snapshot import describe_snapshot, load_snapshot
from dcvae.storage import Storage, open_storage, timestamp, to_json
from dcvae.version import __version__

if TYPE_CHECKING:
    from dcvae.evaluation.extractors import Extractor
    from dcvae.evaluation.measure import Measured
    from dcvae.evaluation.measured_sets import MeasuredSets
    from dcvae.evaluation.perceptual import Perceptual
    from dcvae.evaluation.shown import Shown
    from dcvae.models import DCVAE


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and what its report is drawn from."""

    evaluation: Evaluation
    description: dict[str, Any]
    """The snapshot's config.json."""
    model: "DCVAE"
    shown: "Shown"
    source: Storage
    """The snapshot's folder."""


Present = Callable[[Storage, Evaluated], None]


def evaluate(
    snapshot: str,
    data: str,
    out: str,
    reference: str | None = None,
    present: Present | None = None,
    protocol: str | Protocol = "",
    last: int = 1,
    select_by: str = "frechet_sampling",
    *,
    progress: OnProgress | None = None,
    weights: str | None = None,
    perceptual_weights: str | None = None,
    batch_size: int = 64,
    device: str | None = None,
) -> Evaluation:
    """Measures a snapshot, or the best of a run's last ones, and writes ``evaluation.json``.

    When ``out`` already holds the result of the same weights, data and protocol, it is returned as
    it is. What was stopped goes on where it was.

    Args:
        snapshot: URI of a snapshot folder, or of a run.
        data: URI of the shard set.
        reference: URI of a folder that keeps the statistics of real images between evaluations; by
            default they are made anew.
        present: writes what people look at into ``out`` (see :mod:`dcvae.report`), before
            ``evaluation.json`` is written.
        protocol: a name with changes (see :func:`~dcvae.evaluation.protocol.read_protocol`), or
            one that was read; by default that of the snapshot's preset.
        last: how many of the run's last snapshots, up to this one, are compared first; only the
            best is measured in full.
        select_by: by what they are compared, one of ``dcvae.evaluation.best.METRICS``.
        weights: path or URI of Inception's weights: with them, it is the extractor.
        perceptual_weights: path or URI of the weights of the protocol's perceptual network.
        device: by default a GPU, if there is one.

    Raises:
        UserError: the snapshot, the data or the weights are missing, damaged or do not fit.
    """
    from dcvae.evaluation.best import candidates, check_metric

    began = time.monotonic()
    check_metric(select_by)
    device = _device(device)
    places = candidates(snapshot, last)
    descriptions = [describe_snapshot(place) for place in places]
    manifest = load_manifest(open_storage(data))
    config = parse_config(descriptions[-1]["config"])
    if isinstance(protocol, str):
        protocol = read_protocol(protocol, config, weights)
    check_measurable(protocol, manifest, config.model.channels)
    job = _Job(
        out=open_storage(out),
        data=data,
        manifest=manifest,
        resolution=int(descriptions[-1]["resolution"]),
        protocol=protocol,
        reference=reference,
        progress=progress,
        weights=weights,
        perceptual_weights=perceptual_weights,
        batch_size=batch_size,
        device=device,
    )
    stored = job.stored(descriptions, select_by, [REPORT] if present else [])
    return stored or job.run(places, descriptions, select_by, present, began)


def protocol_for(snapshot: str, text: str, weights: str | None = None) -> Protocol:
    """The protocol that ``text`` names for the model at this URI of a snapshot or a run.

    Raises:
        UserError: as :func:`~dcvae.evaluation.protocol.read_protocol`, or there is no snapshot.
    """
    from dcvae.evaluation.best import candidates

    config = describe_snapshot(candidates(snapshot, 1)[-1])["config"]
    return read_protocol(text, parse_config(config), weights)


class _Job:
    """One evaluation, once everything about it is known and checked."""

    def __init__(
        self,
        *,
        out: Storage,
        data: str,
        manifest: Manifest,
        resolution: int,
        protocol: Protocol,
        reference: str | None,
        progress: OnProgress | None,
        weights: str | None,
        perceptual_weights: str | None,
        batch_size: int,
        device: str,
    ) -> None:
        from dcvae.evaluation.extractors import load_extractor
        from dcvae.evaluation.perceptual import load_perceptual
        from dcvae.evaluation.reference import Reference

        self.out, self.data, self.manifest = out, data, manifest
        self.resolution, self.protocol, self.progress = resolution, protocol, progress
        self.batch_size, self.device = batch_size, device
        self.extractor: Extractor = load_extractor(protocol.extractor, resolution, weights, device)
        self.perceptual: Perceptual | None = None
        if protocol.perceptual:
            self.perceptual = load_perceptual(protocol.perceptual, perceptual_weights, device)
        self.reference = Reference(open_storage(reference) if reference else None)

    def stored(
        self, descriptions: list[dict[str, Any]], by: str, beside: list[str]
    ) -> Evaluation | None:
        """What ``out`` holds with ``beside``, if it is of these snapshots and this protocol."""
        if not all(self.out.stat(key) for key in (RESULT, *beside)):
            return None
        try:
            found = read_evaluation(self.out)
        except UserError:
            return None  # of another version, or damaged: measured again
        same = (
            found.protocol == self.protocol,
            found.dataset.fingerprint == self.manifest.fingerprint,
            found.extractor == self.extractor.described,
            found.perceptual == (self.perceptual and self.perceptual.described),
            _of(found, by) == [each["weights_sha256"] for each in descriptions],
        )
        return found if all(same) else None

    def run(
        self,
        places: list[Storage],
        descriptions: list[dict[str, Any]],
        by: str,
        present: Present | None,
        began: float,
    ) -> Evaluation:
        """Choose, measure, present and write."""
        from dcvae.evaluation.measure import Measurement
        from dcvae.evaluation.passes import forget_passes

        selection = self._selection(places, descriptions, by)
        source, description = places[-1], descriptions[-1]
        if selection:
            number = [each.images for each in selection.candidates].index(selection.chosen)
            source, description = places[number], descriptions[number]
        sets = self._sets(source, description)
        measured = Measurement(sets).run()
        evaluation = self._evaluation(source, description, selection, measured, began)
        self.out.delete(RESULT)  # of another protocol or other weights: not true of what follows
        if present:
            shown = Evaluated(evaluation, description, sets.model, measured.shown, source)
            present(self.out, shown)
        self.out.write(RESULT, to_json(evaluation.model_dump(mode="json")))
        forget_passes(self.out)
        return evaluation

    def _selection(
        self, places: list[Storage], descriptions: list[dict[str, Any]], by: str
    ) -> Selection | None:
        from dcvae.evaluation.best import choose

        if len(places) == 1:
            return None

        def sets_of(place: Storage, description: dict[str, Any]) -> "MeasuredSets":
            return self._sets(place, description, f"snapshot {description['images']:,}: ")

        snapshots = list(zip(places, descriptions, strict=True))
        return choose(snapshots, by, sets_of, self.out, self._decided_by())

    def _decided_by(self) -> str:
        """Hex SHA-256 of all that figures follow from besides the weights."""
        parts = (self.protocol.digest(), self.manifest.fingerprint, self.extractor.sha256)
        return hashlib.sha256("-".join(parts).encode()).hexdigest()

    def _sets(
        self, source: Storage, description: dict[str, Any], about: str = ""
    ) -> "MeasuredSets":
        from dcvae.evaluation.measured_sets import MeasuredSets
        from dcvae.evaluation.passes import Passes
        from dcvae.evaluation.real_images import RealImages

        model = load_snapshot(source, self.device)
        storage = open_storage(self.data)
        images = RealImages(storage, self.manifest, self.resolution, self.batch_size)
        identity = [self._decided_by(), self.batch_size]
        shared = Passes(self.out, identity, self.progress)
        mine = Passes(self.out, [*identity, description["weights_sha256"]], self.progress, about)
        tools = (self.extractor, self.perceptual)
        return MeasuredSets(model, images, self.protocol, *tools, mine, self.reference, shared)

    def _evaluation(
        self,
        source: Storage,
        description: dict[str, Any],
        selection: Selection | None,
        measured: "Measured",
        began: float,
    ) -> Evaluation:
        manifest = self.manifest
        return Evaluation(
            snapshot=Snapshot(
                uri=source.uri,
                weights_sha256=description["weights_sha256"],
                images=description["images"],
                resolution=self.resolution,
                preset=description["config"]["preset"],
                method=description["config"]["objective"]["method"],
            ),
            dataset=Dataset(uri=self.data, name=manifest.name, fingerprint=manifest.fingerprint),
            protocol=self.protocol,
            extractor=self.extractor.described,
            perceptual=self.perceptual and self.perceptual.described,
            selection=selection,
            metrics=measured.metrics,
            left_out=measured.left_out,
            confusion=_confusion(measured, manifest),
            versions=_versions(),
            created_at=timestamp(),
            seconds=round(time.monotonic() - began, 1),
        )


def _device(name: str | None) -> str:
    """The device's name, once it is known to be there.

    Raises:
        UserError: there is no such device.
    """
    import torch

    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ValueError, NotImplementedError):
        raise UserError(
            f"there is no device {name!r} on this machine; leave it out, or use cpu"
            + (" or cuda" if torch.cuda.is_available() else "")
        ) from None
    return name


def _of(found: Evaluation, by: str) -> list[str]:
    """Weights of the snapshots that a stored evaluation is the best of."""
    if found.selection is None:
        return [found.snapshot.weights_sha256]
    if found.selection.by != by:
        return []
    return [each.weights_sha256 for each in found.selection.candidates]


def _confusion(measured: "Measured", manifest: Manifest) -> Confusion | None:
    if measured.probe is None:
        return None
    counts = measured.probe.confusion.tolist()
    names = manifest.classes or [str(i) for i in range(len(counts))]
    return Confusion(classes=names, counts=counts)


def _versions() -> dict[str, str]:
    packages = ("torch", "torch-fidelity", "numpy", "scikit-learn")
    return {
        "dcvae": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
