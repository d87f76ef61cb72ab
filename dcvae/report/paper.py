"""The paper's figures, and where they may stand beside ours."""

import re
from dataclasses import dataclass

from dcvae.evaluation.extractors import INCEPTION
from dcvae.evaluation.results import Evaluation


@dataclass(frozen=True)
class Figure:
    """One printed number, and what it was measured on as far as the paper says."""

    metric: str
    value: float
    table: str
    resolution: int | None = None
    """Side of the images in pixels."""
    latent_dim: int | None = None
    method: str = "dcvae"


def _distances(
    table: str,
    resolution: int,
    fid: tuple[float, float],
    score: tuple[float, float] | None = None,
    method: str = "dcvae",
) -> tuple[Figure, ...]:
    """FID, and Inception score if there is one, of (samples, reconstructions)."""
    measured = {"fid": fid} | ({"is": score} if score else {})
    return tuple(
        Figure(f"{name}_{kind}", value, table, resolution, method=method)
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
    "stl10": _distances("Table 2", 32, (41.9, 43.6), (8.1, 8.4)),
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
    """The paper's figures with ours: same data, method, size and extractor."""
    statement: str


def compare(evaluation: Evaluation, latent_dim: int) -> Comparison:
    """The paper's figures that this evaluation may stand beside, and a plain statement."""
    name = re.sub(r"[^a-z0-9]", "", evaluation.dataset.name.lower())
    figures, shown = FIGURES.get(name, ()), evaluation.dataset.name
    if not figures:
        return Comparison(
            (),
            f"The paper reports no figures for {shown}, so none stand here. Its FIDs are measured "
            "with Inception-v3 on other data; a distance to other images, or by another "
            "extractor, is another quantity.",
        )
    ours, protocol = evaluation.values(), evaluation.protocol
    same = [
        figure
        for figure in figures
        if figure.method == evaluation.snapshot.method
        and figure.resolution in (None, protocol.resolution)
        and figure.latent_dim in (None, latent_dim)
    ]
    rows = tuple((figure, ours[figure.metric]) for figure in same if figure.metric in ours)
    if not same:
        return Comparison(
            (),
            f"The paper's figures for {shown} are of other models: of another size of image or "
            "latent, or of another method. They do not stand beside this one.",
        )
    if protocol.extractor != INCEPTION and not rows:
        return Comparison(
            (),
            f"The paper's FIDs and Inception scores for {shown} need the features of "
            f"Inception-v3. This evaluation uses {protocol.extractor}, whose distances are "
            "another quantity, so they do not stand beside it.",
        )
    return Comparison(
        rows,
        "Same data set and size, measured the same way as far as the paper says. It does not "
        f"state its number of samples; here it is {protocol.samples:,}, and a Fréchet distance "
        "grows as that number shrinks.",
    )
