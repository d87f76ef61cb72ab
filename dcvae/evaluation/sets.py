"""Distances of whole sets under the names that their protocol gives them.

Only Inception's own features make an FID, a KID or an Inception score; other extractors have
their name in the metric's name.
"""

from collections.abc import Callable
from functools import cached_property

from dcvae.evaluation.distances import (
    Features,
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_recall,
)
from dcvae.evaluation.extractors import INCEPTION, Extractor
from dcvae.evaluation.results import Metric, Protocol

_DEFINITIONS = {
    "fid": "Fréchet distance of features to the real images of the split",
    "kid": "squared MMD of features with a cubic kernel, unbiased",
    "is": "Inception score, mean of 10 splits",
    "precision": "share that lies among the real images, k = 3",
    "recall": "share of the real images that they cover, k = 3",
}
_ORDER = ("fid_", "fd_", "is_", "kid_", "kd_", "precision", "recall", "pixel", "perceptual", "ppl")


class SetDistances:
    """Distances to one set of real images, each with that of ``other`` real images beside it.

    ``advance`` is told how many distances are known, :attr:`total` in all.
    """

    def __init__(
        self,
        extractor: Extractor,
        protocol: Protocol,
        real: Features,
        other: Features | None,
        advance: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.extractor, self.protocol = extractor, protocol
        self.real, self.other, self.advance = real, other, advance

    def metrics(self, kind: str, ours: Features) -> dict[str, Metric]:
        """Every distance of ``ours``, named ``<distance>_<kind>``."""
        return {
            f"{self._name(distance)}_{kind}": Metric(
                value=value,
                samples=len(ours),
                split=self.protocol.split,
                floor=self._floors.get(distance),
                floor_samples=len(self.other) if self.other else None,
                extractor=self.extractor.name,
                extractor_sha256=self.extractor.sha256,
                better="lower" if distance in ("fid", "kid") else "higher",
                definition=_DEFINITIONS[distance],
            )
            for distance, value in self._measure(ours).items()
        }

    @property
    def total(self) -> int:
        """How many distances ``advance`` is told of, for samples and for reconstructions."""
        return 4 * (3 if self.other else 2)

    @cached_property
    def _floors(self) -> dict[str, float]:
        return self._measure(self.other) if self.other else {}

    def _measure(self, ours: Features) -> dict[str, float]:
        # In this order of the arguments the square root of the real covariance is made once.
        found = {"fid": frechet_distance(self.real.statistics, ours.statistics)}
        self.advance(1)
        found["kid"] = kernel_distance(ours.values, self.real.values, self.protocol.seed)
        self.advance(1)
        both = precision_recall(ours.values, self.real.values)
        found["precision"], found["recall"] = both
        self.advance(2)
        if self.extractor.name == INCEPTION and ours.logits is not None:
            found["is"] = inception_score(ours.logits)[0]
        return found

    def _name(self, distance: str) -> str:
        if distance in ("precision", "recall"):
            return f"{distance}_{self.extractor.slug}"
        if self.extractor.name == INCEPTION:
            return distance
        return f"{distance.replace('id', 'd')}_{self.extractor.slug}"


def reading_order(item: tuple[str, Metric]) -> tuple[int, str]:
    """Sorts metrics: distances of sets, then of images, then the probe; sampling first."""
    name = item[0]
    place = next((i for i, start in enumerate(_ORDER) if name.startswith(start)), len(_ORDER))
    return place, name.replace("sampling", "0").replace("mean", "0")
