"""The paper's figures, and where they may stand beside ours."""

import re
from dataclasses import dataclass

from dcvae.evaluation.extractors import INCEPTION
from dcvae.evaluation.results import Evaluation


@dataclass(frozen=True)
class Figure:
    """One printed number of DC-VAE."""

    metric: str
    value: float
    table: str
    needs_inception: bool = True
    note: str = ""


_MNIST = "latent size {}, fraction of the test set"

FIGURES: dict[str, tuple[Figure, ...]] = {
    "cifar10": (
        Figure("fid_sampling", 17.9, "Table 1"),
        Figure("fid_reconstruction", 21.4, "Table 1"),
        Figure("is_sampling", 8.2, "Table 1"),
        Figure("is_reconstruction", 7.9, "Table 1"),
    ),
    "celeba": (
        Figure("fid_sampling", 19.9, "Table 4", note="128 × 128"),
        Figure("fid_reconstruction", 14.3, "Table 4", note="128 × 128"),
    ),
    "lsunbedroom": (
        Figure("fid_sampling", 14.3, "Table 3", note="128 × 128"),
        Figure("fid_reconstruction", 10.57, "Table 3", note="128 × 128"),
    ),
    "mnist": tuple(
        Figure("probe_error_mean", error, "Table 5", False, _MNIST.format(size))
        for size, error in ((16, 0.0130), (32, 0.0127), (64, 0.0129))
    ),
}


@dataclass(frozen=True)
class Comparison:
    """What the report says about the paper."""

    rows: tuple[tuple[Figure, float], ...]
    """The paper's figures with ours, measured on the same data with the same extractor."""
    statement: str


def compare(evaluation: Evaluation) -> Comparison:
    """The paper's figures that this evaluation may stand beside, and a plain statement."""
    name = re.sub(r"[^a-z0-9]", "", evaluation.dataset.name.lower())
    figures = FIGURES.get(name, ())
    ours = evaluation.values()
    rows = tuple((f, ours[f.metric]) for f in figures if f.metric in ours)
    shown = evaluation.dataset.name
    if not figures:
        return Comparison(
            (),
            f"The paper reports no figures for {shown}, so none stand here. Its FIDs are measured "
            "with Inception-v3 on other data; a distance to other images, or by another "
            "extractor, is another quantity.",
        )
    protocol = evaluation.protocol
    if protocol.extractor != INCEPTION:
        return Comparison(
            rows,
            f"The paper's FIDs and Inception scores for {shown} need the features of "
            f"Inception-v3. This evaluation uses {protocol.extractor}, whose distances are "
            "another quantity, so they do not stand beside it.",
        )
    return Comparison(
        rows,
        f"Same data and extractor. The paper does not state its number of samples; here it is "
        f"{protocol.samples:,}, and a Fréchet distance grows as that number shrinks.",
    )
