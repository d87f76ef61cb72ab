"""The paper's figures, and when they may be shown beside ours."""

import re
from dataclasses import dataclass

from dcvae.config.model import AUTOGAN_RESOLUTION
from dcvae.evaluation.extractors import INCEPTION
from dcvae.evaluation.protocol import NAMED, RELEASED_CLAMP, Protocol
from dcvae.evaluation.results import Evaluation

REAL_IMAGES = 10_000
"""Fewest images for showing a figure of the paper beside ours."""
DECIDING = (
    "name",
    "version",
    "reference_split",
    "reference_images",
    "reconstructed_split",
    "samples",
    "latent",
    "score_splits",
)
"""Fields of the protocol, besides the extractor, that decide the paper's distances and scores."""


@dataclass(frozen=True)
class Figure:
    """A printed number, and what it was measured on as far as the paper says."""

    metric: str
    value: float
    table: str
    resolution: int | None = None
    """Side of the images in pixels."""
    latent_dim: int | None = None
    method: str = "dcvae"
    reconstructed: int = REAL_IMAGES
    """How many images are reconstructed for it, if the paper's test split has fewer."""


def _distances(
    table: str,
    resolution: int,
    fid: tuple[float, float],
    score: tuple[float, float] | None = None,
    method: str = "dcvae",
    reconstructed: int = REAL_IMAGES,
) -> tuple[Figure, ...]:
    """FID, and Inception score if there is one, of (samples, reconstructions)."""
    measured = {"fid": fid} | ({"is": score} if score else {})
    return tuple(
        Figure(
            f"{name}_{kind}", value, table, resolution, method=method, reconstructed=reconstructed
        )
        for name, values in measured.items()
        for kind, value in zip(("sampling", "reconstruction"), values, strict=True)
    )


FIGURES: dict[str, tuple[Figure, ...]] = {
    "cifar10": (
        *_distances("Table 1", 32, (17.9, 21.4), (8.2, 7.9)),
        *_distances("Table 1", 32, (115.8, 108.4), (3.8, 4.3), "vae"),
        *_distances("Table 1", 32, (39.8, 29.0), (7.4, 7.6), "vae_gan"),
        *_distances("Table 1", 32, (240.4, 242.0), (1.8, 1.9), "vae_contrastive"),
    ),
    "stl10": _distances("Table 2", 32, (41.9, 43.6), (8.1, 8.4), reconstructed=8_000),
    "celeba": _distances("Table 4", 128, (19.9, 14.3)),
    "lsunbedroom": _distances("Table 3", 128, (14.3, 10.57)),
    "mnist": tuple(
        Figure("probe_error_mean", error, "Table 5", latent_dim=size)
        for size, error in ((16, 0.0130), (32, 0.0127), (64, 0.0129))
    ),
}


@dataclass(frozen=True)
class Comparison:
    """What the report says about the paper."""

    rows: tuple[tuple[Figure, float], ...]
    """The paper's figures beside ours: same data, method, size and extractor."""
    statement: str


def compare(evaluation: Evaluation, latent_dim: int) -> Comparison:
    """The paper's figures that may be shown beside this evaluation, and a statement about them."""
    name = re.sub(r"[^a-z0-9]", "", evaluation.dataset.name.lower())
    figures, shown = FIGURES.get(name, ()), evaluation.dataset.name
    if not figures:
        return Comparison(
            (),
            f"The paper reports no figures for {shown}, so none stand here. Its FIDs are measured "
            "with Inception-v3 on other data; a distance to other images, or by another "
            "extractor, is another quantity.",
        )
    same = [
        figure
        for figure in figures
        if figure.method == evaluation.snapshot.method
        and figure.resolution in (None, evaluation.snapshot.resolution)
        and figure.latent_dim in (None, latent_dim)
    ]
    if not same:
        return Comparison(
            (),
            f"The paper's figures for {shown} are of other models: of another size of image or "
            "latent, or of another method. They do not stand beside this one.",
        )
    reasons = {figure: _why_not(figure, evaluation) for figure in same}
    rows = [f for f, reason in reasons.items() if not reason]
    agreed = (
        f"Same data set, method and size, by the protocol {evaluation.protocol.label}. The paper "
        "does not state all of its own: ours follows the released code where the paper is silent."
    )
    said = [agreed] if rows else []
    for reason in dict.fromkeys(filter(None, reasons.values())):
        names = ", ".join(f.metric for f, why in reasons.items() if why == reason)
        said.append(f"The paper's {names} for {shown} cannot stand here: {reason}.")
    ours = evaluation.values()
    return Comparison(tuple((figure, ours[figure.metric]) for figure in rows), " ".join(said))


def _why_not(figure: Figure, evaluation: Evaluation) -> str:
    """Why a figure of the same model and data is not shown beside ours; empty if it is."""
    metric, protocol = evaluation.metrics.get(figure.metric), evaluation.protocol
    of_sets = figure.metric.startswith(("fid_", "is_"))
    if of_sets and protocol.extractor != INCEPTION:
        return (
            f"it needs the features of Inception-v3, and this evaluation uses "
            f"{protocol.extractor}, whose distances are another quantity (see --weights)"
        )
    if of_sets and (different := _differing(figure, protocol)):
        return (
            f"it is measured by the protocol paper, and this evaluation by {protocol.label} "
            f"differs in {', '.join(different)}"
        )
    if metric is None:
        return evaluation.left_out.get(figure.metric, "it was not measured here")
    real, least = metric.real_images, REAL_IMAGES
    if figure.metric.endswith("_reconstruction"):
        least = figure.reconstructed
        real = min(metric.samples, real or metric.samples)
    elif figure.metric.startswith("probe"):
        real = metric.samples
    if real is not None and real < least:
        return f"it takes {least:,} real images or more, and here are {real:,}"
    return ""


def _differing(figure: Figure, protocol: Protocol) -> list[str]:
    """Fields in which an evaluation's protocol differs from that of the paper's distances."""
    plain = NAMED["paper"]
    found = [name for name in DECIDING if getattr(protocol, name) != getattr(plain, name)]
    clamp = RELEASED_CLAMP if figure.resolution == AUTOGAN_RESOLUTION else None
    return found + ["latent_clamp"] * (protocol.latent_clamp != clamp)
