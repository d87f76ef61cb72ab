"""The names that metrics can have, known before anything is measured."""

from typing import Literal

Better = Literal["lower", "higher"]
EXTRACTORS = ("efficientnet-lite0", "inception-v3")
_INCEPTION = EXTRACTORS[1]
_KINDS = ("sampling", "reconstruction")


def measurable(extractor: str, perceptual: str | None = None) -> dict[str, Better]:
    """Every metric that an evaluation can have → which values of it are better.

    Which of them it has is up to the data: the probe needs labels.

    Args:
        extractor: the network whose features are compared.
        perceptual: the network of the perceptual measures, if they are asked for.
    """
    slug = "_" + extractor.replace("-", "_")
    own = extractor == _INCEPTION
    found: dict[str, Better] = {"pixel_distance": "lower"}
    for kind in _KINDS:
        for distance in ("fid", "kid"):
            found[f"{distance if own else distance.replace('id', 'd') + slug}_{kind}"] = "lower"
        for distance in ("precision", "recall"):
            found[f"{distance}{slug}_{kind}"] = "higher"
        if own:
            found[f"is_{kind}"] = "higher"
    found["probe_error_mean"] = found["probe_error_ci95"] = "lower"
    if perceptual:
        network = perceptual.replace("-", "_")
        suffix = "" if perceptual == "vgg16" else f"_{network}"
        found[f"perceptual_distance{suffix}"] = found[f"ppl_{network}_relu4_3"] = "lower"
    return found
