"""What an evaluation could not measure, reported before the training that precedes it."""

from collections.abc import Iterable

from dcvae.config import Config
from dcvae.environment import INCEPTION_WEIGHTS, PERCEPTUAL_WEIGHTS
from dcvae.errors import UserError
from dcvae.evaluation.names import PROBE, SELECTABLE_BY, compared_metric, measurable
from dcvae.evaluation.protocol import Protocol
from dcvae.shards.manifest import Manifest


def check_ahead(
    protocol: Protocol,
    config: Config,
    manifest: Manifest,
    weights: str | None = None,
    perceptual_weights: str | None = None,
    maxima: Iterable[str] = (),
) -> None:
    """Refuse what would otherwise fail only after the training.

    Args:
        protocol: how the model will be measured.
        config: of the model that will be trained.
        manifest: of the images.
        weights: path or URI of Inception's weights.
        perceptual_weights: path or URI of the weights of the protocol's perceptual network.
        maxima: metrics that the gate will ask for.

    Raises:
        UserError: the protocol, its networks' weights, the data or the gate's metrics do not fit.
    """
    check_measurable(protocol, manifest, config.model.channels)
    _check_networks(protocol, weights, perceptual_weights)
    known, missing = (
        measurable(protocol.extractor, protocol.perceptual),
        unmeasurable(protocol, manifest),
    )
    for metric in maxima:
        if metric not in known:
            raise UserError(
                f"the gate asks for {metric}, which {protocol.label} does not measure; "
                f"it measures: {', '.join(known)}"
            )
        if metric in missing:
            raise UserError(
                f"the gate asks for {metric}, which cannot be measured on {manifest.name}: "
                f"{missing[metric]}; leave it out, or measure by another protocol"
            )


def _check_networks(
    protocol: Protocol, weights: str | None, perceptual_weights: str | None
) -> None:
    from dcvae.evaluation import extractors, perceptual
    from dcvae.evaluation.weights import check_there, find_weights

    if protocol.extractor == extractors.INCEPTION:
        place = find_weights(weights, INCEPTION_WEIGHTS, extractors.INCEPTION_FILE)
        check_there(place, extractors.NEEDED)
    if protocol.perceptual:
        file, missing = perceptual.file_of(protocol.perceptual)
        check_there(find_weights(perceptual_weights, PERCEPTUAL_WEIGHTS, file), missing)


def check_measurable(protocol: Protocol, manifest: Manifest, channels: int) -> None:
    """Refuse an evaluation that could measure nothing, however good the model.

    Raises:
        UserError: the real images to compare with are missing, or have other channels than the
            model's.
    """
    if channels != manifest.channels:
        raise UserError(
            f"the model makes images of {channels} channels and {manifest.name} has "
            f"{manifest.channels}; evaluate it on the data it was trained for"
        )
    if not size(manifest, protocol.reference_split):
        raise UserError(
            f"the protocol {protocol.label} compares with the split {protocol.reference_split}, "
            f"and {manifest.name} has no images in it: cut the images with some held out "
            "(--test), or measure by another protocol, such as paper"
        )


def check_selection(last: int, by: str) -> None:
    """Refuses what no snapshots can be compared by, and fewer of them than one.

    Raises:
        UserError: it is not of :data:`~dcvae.evaluation.names.SELECTABLE_BY`, or too few.
    """
    if last < 1:
        raise UserError(f"the last {last} snapshots cannot be looked at; give 1 or more")
    if by not in SELECTABLE_BY:
        raise UserError(
            f"snapshots cannot be compared by {by!r}; use one of: {', '.join(SELECTABLE_BY)}"
        )


def not_comparable(by: str, protocol: Protocol, manifest: Manifest) -> str:
    """Why no snapshots can be compared ``by`` this on this data; empty: they can."""
    metric = compared_metric(by, protocol.extractor)
    return unmeasurable(protocol, manifest).get(metric, "")


def unmeasurable(protocol: Protocol, manifest: Manifest) -> dict[str, str]:
    """Metrics that protocol and data do not allow, as far as the manifest tells, with reasons."""
    found: dict[str, str] = {}
    p, reference = protocol, _at_most(protocol.reference_images, manifest, protocol.reference_split)
    reconstructed = _at_most(p.reconstructions, manifest, p.reconstructed_split)
    few = {
        "sampling": min(reference, p.samples or reference),
        "reconstruction": min(reference, reconstructed),
    }
    for metric in measurable(p.extractor, p.perceptual):
        images, least = few.get(metric.rpartition("_")[2]), 2
        if images is not None and metric.startswith(("kid", "kd", "precision", "recall")):
            images = min(images, p.neighbourhoods)
        if metric.startswith(("precision", "recall")):
            least = 4
        if metric.startswith(("pixel", "perceptual")):
            images, least = reconstructed, 1
        if images is not None and images < least:
            found[metric] = f"it takes {least} images or more in each set, and there are {images}"
    why = no_probe(manifest, protocol.reconstructed_split)
    return found | (dict.fromkeys(PROBE, why) if why else {})


def no_probe(manifest: Manifest, split: str) -> str:
    """Why no classifier can be trained and then tested on ``split``; empty if one can."""
    if not manifest.classes:
        return "the images have no labels"
    if len(manifest.classes) < 2:
        return "all images are of one class"
    if not size(manifest, split):
        return no_reconstructions(manifest, split)
    if probed_split(manifest, split) is None:
        return f"there are no images to learn from besides those of the split {split}"
    return ""


def probed_split(manifest: Manifest, split: str) -> str | None:
    """The split that the probe learns from: ``train``, or another one that is not ``split``."""
    others = (name for name in ("train", *manifest.splits) if name != split)
    return next((name for name in others if size(manifest, name)), None)


def no_reconstructions(manifest: Manifest, split: str) -> str:
    """Why nothing can be reconstructed."""
    return f"{manifest.name} has no images in the split {split}, which would be reconstructed"


def _at_most(wanted: int | None, manifest: Manifest, split: str) -> int:
    total = size(manifest, split)
    return total if wanted is None else min(wanted, total)


def size(manifest: Manifest, split: str) -> int:
    """Number of images of a split; 0 if there is no such split."""
    return manifest.samples(split) if split in manifest.splits else 0
