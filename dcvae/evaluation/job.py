"""One evaluation at work: choose the best snapshot, measure it, show it, write the result last."""

import hashlib
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from dcvae.errors import UserError
from dcvae.evaluation.best import choose
from dcvae.evaluation.extractors import load_extractor
from dcvae.evaluation.measure import Measured, Measurement
from dcvae.evaluation.measured_sets import MeasuredSets
from dcvae.evaluation.passes import Passes, forget_passes
from dcvae.evaluation.perceptual import Perceptual, load_perceptual
from dcvae.evaluation.protocol import Protocol
from dcvae.evaluation.real_images import RealImages
from dcvae.evaluation.reference import Reference
from dcvae.evaluation.results import (
    RESULT,
    Confusion,
    Dataset,
    Evaluation,
    Selection,
    Snapshot,
    read_evaluation,
)
from dcvae.evaluation.shown import Shown
from dcvae.models import DCVAE
from dcvae.progress import OnProgress
from dcvae.shards.manifest import Manifest
from dcvae.snapshot import load_snapshot
from dcvae.storage import Storage, open_storage, timestamp, to_json
from dcvae.version import __version__


@dataclass(frozen=True)
class Evaluated:
    """An evaluation, and what its report is drawn from."""

    evaluation: Evaluation
    description: dict[str, Any]
    """The snapshot's config.json."""
    model: DCVAE
    shown: Shown
    source: Storage
    """The snapshot's folder."""


Present = Callable[[Storage, Evaluated], None]


class Job:
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
        self.out, self.data, self.manifest = out, data, manifest
        self.resolution, self.protocol, self.progress = resolution, protocol, progress
        self.batch_size, self.device = batch_size, device
        self.extractor = load_extractor(protocol.extractor, resolution, weights, device)
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
        unable: dict[str, str],
        present: Present | None,
        began: float,
    ) -> Evaluation:
        """Choose, measure, present and write.

        Args:
            places: of the snapshots that are compared, oldest first, each with its description.
            by: what they are compared by.
            unable: what is known already not to be measurable, and why.
        """
        selection = self._selection(places, descriptions, by)
        source, description = places[-1], descriptions[-1]
        if selection:
            number = [each.images for each in selection.candidates].index(selection.chosen)
            source, description = places[number], descriptions[number]
        sets = self._sets(source, description)
        measured = Measurement(sets).run()
        measured.left_out |= unable
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
        if len(places) == 1:
            return None

        def sets_of(place: Storage, description: dict[str, Any]) -> MeasuredSets:
            return self._sets(place, description, f"snapshot {description['images']:,}: ")

        snapshots = list(zip(places, descriptions, strict=True))
        return choose(snapshots, by, sets_of, self.out, self._decided_by())

    def _decided_by(self) -> str:
        """Hex SHA-256 of all that figures follow from besides the weights."""
        parts = (self.protocol.digest(), self.manifest.fingerprint, self.extractor.sha256)
        return hashlib.sha256("-".join(parts).encode()).hexdigest()

    def _sets(self, source: Storage, description: dict[str, Any], about: str = "") -> MeasuredSets:
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
        measured: Measured,
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


def _of(found: Evaluation, by: str) -> list[str]:
    """Weights of the snapshots that a stored evaluation is the best of."""
    if found.selection is None:
        return [found.snapshot.weights_sha256]
    if found.selection.by != by:
        return []
    return [each.weights_sha256 for each in found.selection.candidates]


def _confusion(measured: Measured, manifest: Manifest) -> Confusion | None:
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
