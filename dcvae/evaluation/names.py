"""The possible names of metrics, known before anything is measured."""

from typing import Literal

PROBE = ("probe_error_mean", "probe_error_ci95")
Better = Literal["lower", "higher"]
EXTRACTORS = ("efficientnet-lite0", "inception-v3")
_INCEPTION = EXTRACTORS[1]
KINDS = ("sampling", "reconstruction")
SELECTABLE_BY = (
    "frechet_sampling",
    "frechet_reconstruction",
    "kernel_sampling",
    "kernel_reconstruction",
    "pixel_distance",
)
"""By what a run's last snapshots may be compared: the lower, the better."""
_DISTANCES = {"frechet": "fid", "kernel": "kid"}


def metric_name(distance: str, kind: str, extractor: str) -> str:
    """``fid`` of ``sampling`` → ``fid_sampling``, or ``fd_efficientnet_lite0_sampling``."""
    slug = extractor.replace("-", "_")
    if distance in ("precision", "recall"):
        return f"{distance}_{slug}_{kind}"
    if extractor == _INCEPTION:
        return f"{distance}_{kind}"
    return f"{distance.replace('id', 'd')}_{slug}_{kind}"


def compared_metric(by: str, extractor: str) -> str:
    """The metric that comparing snapshots ``by`` one of :data:`SELECTABLE_BY` takes."""
    measure, _, kind = by.partition("_")
    distance = _DISTANCES.get(measure)
    return metric_name(distance, kind, extractor) if distance else by


def measurable(extractor: str, perceptual: str | None = None) -> dict[str, Better]:
    """Every metric that an evaluation can have, and whether lower or higher is better.

    Which of them it does have depends on the data: the probe needs labels.

    Args:
        extractor: the network whose features are compared.
        perceptual: the network of the perceptual measures, if they are wanted.
    """
    found: dict[str, Better] = {"pixel_distance": "lower"}
    for kind in KINDS:
        for distance in ("fid", "kid"):
            found[metric_name(distance, kind, extractor)] = "lower"
        for distance in ("precision", "recall"):
            found[metric_name(distance, kind, extractor)] = "higher"
        if extractor == _INCEPTION:
            found[f"is_{kind}"] = "higher"
    found |= dict.fromkeys(PROBE, "lower")
    if perceptual:
        network = perceptual.replace("-", "_")
        suffix = "" if perceptual == "vgg16" else f"_{network}"
        found[f"perceptual_distance{suffix}"] = found[f"ppl_{network}_relu4_3"] = "lower"
    return found
