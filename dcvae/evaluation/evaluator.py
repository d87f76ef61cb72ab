"""The evaluation of a snapshot: measure, show, write ``evaluation.json`` last."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dcvae.errors import UserError
from dcvae.evaluation.results import (
    REPORT,
    RESULT,
    Confusion,
    Dataset,
    Evaluation,
    Protocol,
    Snapshot,
    read_evaluation,
)
from dcvae.progress import OnProgress
from dcvae.shards.manifest import Manifest, load_manifest
from dcvae.snapshot import describe_snapshot, load_snapshot
from dcvae.storage import Storage, open_storage, timestamp, to_json
from dcvae.version import __version__

if TYPE_CHECKING:
    from dcvae.evaluation.measure import Measured
    from dcvae.evaluation.shown import Shown
    from dcvae.models import DCVAE

EFFICIENTNET = "efficientnet-lite0"
MOST_SAMPLES = 50_000


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
    *,
    extractor: str = EFFICIENTNET,
    samples: int | None = None,
    split: str = "test",
    seed: int = 0,
    progress: OnProgress | None = None,
    weights: str | None = None,
    latent_clamp: float | None = None,
    perceptual: str | None = None,
    perceptual_weights: str | None = None,
    batch_size: int = 64,
    device: str | None = None,
) -> Evaluation:
    """Measures a snapshot on a split and writes ``evaluation.json``.

    When ``out`` already holds the result
    of the same weights, data and protocol, it is returned as it is.

    Args:
        snapshot: URI of a snapshot folder.
        data: URI of the shard set.
        reference: URI of a folder that keeps the features of real images between evaluations; by
            default they are made anew.
        present: writes what people look at into ``out`` (see :mod:`dcvae.report`), before
            ``evaluation.json`` is written.
        extractor: ``efficientnet-lite0`` or ``inception-v3``.
        samples: images in each compared set; by default the whole split, 50,000 at most.
        weights: path or URI of Inception's weights.
        latent_clamp: clamp prior samples to ±this, as the authors' code does with 1; by default
            they are not clamped, as in the paper.
        perceptual: ``vgg16`` or ``vgg16-hed`` to measure perceptual distance and path length too.
        perceptual_weights: path or URI of that network's weights.
        device: by default a GPU, if there is one.

    Raises:
        UserError: the snapshot, the data or the weights are missing, damaged or do not fit.
    """
    import torch

    from dcvae.evaluation.extractors import load_extractor
    from dcvae.evaluation.perceptual import load_perceptual

    began = time.monotonic()
    device = _usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    source, place = open_storage(snapshot), open_storage(out)
    description, manifest = describe_snapshot(source), load_manifest(open_storage(data))
    resolution = int(description["resolution"])
    _check(description, manifest, split, resolution, samples)
    tool = load_extractor(extractor, resolution, weights, device)
    network = load_perceptual(perceptual, perceptual_weights, device) if perceptual else None
    protocol = Protocol(
        dataset_fingerprint=manifest.fingerprint,
        split=split,
        samples=min(samples or MOST_SAMPLES, manifest.samples(split)),
        resolution=resolution,
        extractor=tool.name,
        extractor_sha256=tool.sha256,
        extractor_input=tool.input_size,
        latent_clamp=latent_clamp,
        perceptual=network.name if network else None,
        seed=seed,
    )
    stored = _stored(place, description, protocol, [REPORT] if present else [])
    if stored:
        return stored

    from dcvae.evaluation.measure import Measurement
    from dcvae.evaluation.reference import Reference
    from dcvae.evaluation.selection import Selection

    model = load_snapshot(source, device)
    images = Selection(open_storage(data), manifest, resolution, batch_size)
    kept = Reference(open_storage(reference) if reference else None)
    measured = Measurement(model, images, protocol, tool, network, progress, kept).run()
    evaluation = Evaluation(
        snapshot=Snapshot(
            uri=snapshot,
            weights_sha256=description["weights_sha256"],
            images=description["images"],
            resolution=resolution,
            preset=description["config"]["preset"],
            method=description["config"]["objective"]["method"],
        ),
        dataset=Dataset(uri=data, name=manifest.name, fingerprint=manifest.fingerprint),
        protocol=protocol,
        metrics=measured.metrics,
        confusion=_confusion(measured, manifest),
        versions=_versions(),
        created_at=timestamp(),
        seconds=round(time.monotonic() - began, 1),
    )
    place.delete(RESULT)  # of another protocol or other weights: no longer true of what follows
    if present:
        present(place, Evaluated(evaluation, description, model, measured.shown, source))
    place.write(RESULT, to_json(evaluation.model_dump(mode="json")))
    return evaluation


def _usable(device: str) -> str:
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"the device {device} cannot be used ({why}); try cpu or cuda") from None
    return device


def _check(
    description: dict[str, Any],
    manifest: Manifest,
    split: str,
    resolution: int,
    samples: int | None,
) -> None:
    channels = description["config"]["model"]["channels"]
    if channels != manifest.channels:
        raise UserError(
            f"the model makes images of {channels} channels and {manifest.name} has "
            f"{manifest.channels}; evaluate it on the data it was trained for"
        )
    if not manifest.shards(split, resolution):
        raise UserError(f"the split {split} of {manifest.name} has no images; choose another")
    if samples is not None and samples < 4:
        raise UserError(f"4 samples are the least that can be measured, not {samples}")


def _stored(
    place: Storage, description: dict[str, Any], protocol: Protocol, beside: list[str]
) -> Evaluation | None:
    """The result that ``place`` holds with ``beside``, if it is of these weights and protocol."""
    if not all(place.stat(key) for key in (RESULT, *beside)):
        return None
    found = read_evaluation(place)
    same_weights = found.snapshot.weights_sha256 == description["weights_sha256"]
    return found if same_weights and found.protocol == protocol else None


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
