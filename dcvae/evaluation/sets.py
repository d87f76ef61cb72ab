"""Distances between whole sets, named after their extractor.

Only Inception's own features give an FID, a KID or an Inception score; with other extractors, the
metric's name contains theirs.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from dcvae.errors import UserError
from dcvae.evaluation.distances import frechet_distance, kernel_distance, precision_recall
from dcvae.evaluation.feature_set import FeatureSet
from dcvae.evaluation.names import metric_name
from dcvae.evaluation.protocol import Protocol
from dcvae.evaluation.results import Metric, Network

DISTANCES = ("fid", "kid", "precision", "recall")
T = TypeVar("T")
_KEPT = ("kid", "precision", "recall")
"""Metrics that need individual features, and so use only those that were kept."""
_DEFINITIONS = {
    "fid": "Fréchet distance of features to the real images of the split {split}",
    "kid": "squared MMD of features with a cubic kernel, unbiased",
    "is": "Inception score, mean of {splits} parts",
    "precision": "share that lies among the real images, k = 3",
    "recall": "share of the real images that they cover, k = 3",
}
_ORDER = ("fid_", "fd_", "is_", "kid_", "kd_", "precision", "recall", "pixel", "perceptual", "ppl")


class SetDistances:
    """Distances to one set of real images, each beside the same distance of ``other`` real images.

    ``advance`` is called with how many more distances are known, of :attr:`total`.
    """

    def __init__(
        self,
        extractor: Network,
        protocol: Protocol,
        reference: FeatureSet,
        other: FeatureSet | None,
        advance: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.extractor, self.protocol = extractor, protocol
        self.reference, self.other, self.advance = reference, other, advance

    def metrics(self, kind: str, ours: FeatureSet) -> tuple[dict[str, Metric], dict[str, str]]:
        """Every distance of ``ours``, named ``<distance>_<kind>``; and why others are missing."""
        found: dict[str, Metric] = {}
        left_out: dict[str, str] = {}
        for distance, value in self._measure(ours).items():
            name = metric_name(distance, kind, self.extractor.name)
            if isinstance(value, str):
                left_out[name] = value
            else:
                found[name] = self._metric(distance, value, ours)
        return found, left_out

    @property
    def total(self) -> int:
        """How many distances there are, for samples and for reconstructions."""
        return len(DISTANCES) * (3 if self.other else 2)

    def _metric(self, distance: str, value: float, ours: FeatureSet) -> Metric:
        def counted(features: FeatureSet) -> int:
            return len(features.kept) if distance in _KEPT else len(features)

        floor = self._floors.get(distance)
        known = floor if isinstance(floor, float) else None
        return Metric(
            value=value,
            samples=counted(ours),
            split=self.protocol.reference_split,
            real_images=None if distance == "is" else counted(self.reference),
            floor=known,
            floor_samples=counted(self.other) if self.other and known is not None else None,
            extractor=self.extractor.name,
            extractor_sha256=self.extractor.sha256,
            better="lower" if distance in ("fid", "kid") else "higher",
            definition=_DEFINITIONS[distance].format(
                split=self.protocol.reference_split, splits=self.protocol.score_splits
            ),
        )

    @cached_property
    def _floors(self) -> dict[str, float | str]:
        return self._measure(self.other) if self.other else {}

    def _measure(self, ours: FeatureSet) -> dict[str, float | str]:
        """The value of each distance, or why it has none."""
        found: dict[str, float | str] = {}
        # With the arguments in this order, the real covariance's root is computed only once.
        found["fid"] = _value(lambda: frechet_distance(self.reference.statistics, ours.statistics))
        self.advance(1)
        kept = ours.kept, self.reference.kept
        found["kid"] = _value(lambda: kernel_distance(*kept, self.protocol.seed))
        self.advance(1)
        both = _value(lambda: precision_recall(*kept))
        found["precision"], found["recall"] = (both, both) if isinstance(both, str) else both
        self.advance(2)
        score = ours.inception_score()
        if score is not None:
            found["is"] = score
        return found


def _value(measure: Callable[[], T]) -> T | str:
    try:
        return measure()
    except UserError as reason:
        return str(reason)


def reading_order(item: tuple[str, Metric]) -> tuple[int, str]:
    """Sort key of metrics: distances of sets, then of images, then the probe; sampling first."""
    name = item[0]
    place = next((i for i, start in enumerate(_ORDER) if name.startswith(start)), len(_ORDER))
    return place, name.replace("sampling", "0").replace("mean", "0")
