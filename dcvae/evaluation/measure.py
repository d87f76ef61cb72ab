"""Measuring a model: three passes, over real images, over the prior, and over the training set.

Images are streamed; what stays are features, latents, and the few images that are shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dcvae.errors import UserError
from dcvae.evaluation.distances import Features, Gathering, extract, pixel_distance
from dcvae.evaluation.extractors import Extractor
from dcvae.evaluation.perceptual import Perceptual, path_length
from dcvae.evaluation.probe import Probe, probe
from dcvae.evaluation.reference import Reference
from dcvae.evaluation.results import Metric, Protocol
from dcvae.evaluation.selection import Selection
from dcvae.evaluation.sets import SetDistances, reading_order
from dcvae.evaluation.shown import Shown, examples_by_class
from dcvae.models import DCVAE
from dcvae.pictures import to_float, to_uint8
from dcvae.progress import OnProgress, Tally

SHOWN = 64
PROBE_IMAGES = 60_000


@dataclass
class Measured:
    """What the passes found."""

    metrics: dict[str, Metric] = field(default_factory=dict)
    probe: Probe | None = None
    shown: Shown = field(default_factory=Shown)
    """What pictures are drawn from."""


@dataclass
class _Pass:
    """What the pass over the split gathers, batch by batch."""

    latents: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)
    pixel: list[Tensor] = field(default_factory=list)
    perceptual: list[Tensor] = field(default_factory=list)
    shown: list[Tensor] = field(default_factory=list)


class Measurement:
    """One model measured by one protocol."""

    def __init__(
        self,
        model: DCVAE,
        images: Selection,
        protocol: Protocol,
        extractor: Extractor,
        perceptual: Perceptual | None = None,
        report: OnProgress | None = None,
        reference: Reference | None = None,
    ) -> None:
        self.reference = reference or Reference(None)
        self.model, self.images, self.protocol = model, images, protocol
        self.extractor, self.perceptual = extractor, perceptual
        self.report = report or (lambda done, total, what: None)
        self.device = next(model.parameters()).device
        self.found = Measured()

    @torch.no_grad()
    def run(self) -> Measured:
        """All passes, and every metric that the data allows."""
        real, reconstructed, latents, labels = self._real_pass()
        sampled = self._prior_pass()
        train, train_latents, train_labels = self._training_pass(labels is not None)
        distances = SetDistances(self.extractor, self.protocol, real, train)
        distances.advance = self._counter("distances", distances.total)
        self.found.metrics |= distances.metrics("sampling", sampled)
        self.found.metrics |= distances.metrics("reconstruction", reconstructed)
        if labels is not None and train_labels is not None and train_latents is not None:
            self.found.shown.labels = labels[:SHOWN]
            self.found.shown.examples = examples_by_class(train_latents, train_labels)
            self._probe(train_latents, train_labels, latents, labels)
        if self.perceptual:
            self._path_length(self.perceptual)
        self.found.metrics = dict(sorted(self.found.metrics.items(), key=reading_order))
        return self.found

    def _real_pass(self) -> tuple[Features, Features, Tensor, Tensor | None]:
        """The split and its reconstructions: features of both, latents, labels."""
        p, found = self.protocol, _Pass()
        key = self.reference.key(p.split, p.samples, p, self.extractor)
        known = self.reference.get(key, p.samples)
        real, reconstructed = (Gathering(self.extractor, p.samples) for _ in range(2))
        tell = self._counter("reconstructions")
        for images, labels in self.images.choice(p.split, p.samples, p.seed):
            x = to_float(images).to(self.device)
            mu, _ = self.model.encode(x)
            y = self._finite(self.model.decode(mu))
            found.latents.append(mu.float().cpu())
            found.pixel.append(pixel_distance(x, y).cpu())
            if self.perceptual:
                found.perceptual.append(self.perceptual.distance(x, y))
            if labels is not None:
                found.labels.append(labels)
            if sum(map(len, found.shown)) < SHOWN:
                found.shown.append(to_float(images))
            if known is None:
                real.add(images)
            reconstructed.add(to_uint8(y))
            tell(len(images))
        if known is None:
            known = real.features()
            self.reference.put(key, known)
        self.found.shown.inputs = torch.cat(found.shown)[:SHOWN]
        self._add_image_distances(torch.cat(found.pixel), found.perceptual)
        latents, labels = torch.cat(found.latents), _cat(found.labels)
        return known, reconstructed.features(), latents, labels

    def _prior_pass(self) -> Features:
        """Images decoded from the prior, as many as there are real ones."""
        p = self.protocol
        shown: list[Tensor] = []

        def stream() -> Iterator[Tensor]:
            latents = prior(p.samples, self._latent_dim(), p.seed, p.latent_clamp)
            for z in torch.split(latents, self.images.batch_size):
                images = self._finite(self.model.decode(z.to(self.device)))
                if sum(map(len, shown)) < SHOWN:
                    shown.append(images.float().cpu())
                yield to_uint8(images)

        features = extract(stream(), self.extractor, p.samples, self._counter("samples"))
        self.found.shown.samples = torch.cat(shown)[:SHOWN]
        return features

    def _training_pass(
        self, labelled: bool
    ) -> tuple[Features | None, Tensor | None, Tensor | None]:
        """Another set of real images: features for the floor, latents and labels for the probe."""
        other = self._other_split()
        if other is None:
            return None, None, None
        p = self.protocol
        count = self.images.count(other, p.samples)
        key = self.reference.key(other, count, p, self.extractor)
        floor = self.reference.get(key, count)
        if floor is None:
            tell = self._counter("other real images", count)
            batches = (images for images, _ in self.images.choice(other, count, p.seed))
            floor = extract(batches, self.extractor, count, tell)
            self.reference.put(key, floor)
        if not labelled:
            return floor, None, None
        latents: list[Tensor] = []
        labels: list[Tensor] = []
        tell = self._counter("latents for the probe", self.images.count(other, PROBE_IMAGES))
        for images, batch_labels in self.images.choice(other, PROBE_IMAGES, p.seed):
            if batch_labels is not None:
                latents.append(self.model.encode(to_float(images).to(self.device))[0].float().cpu())
                labels.append(batch_labels)
            tell(len(images))
        return floor, _cat(latents), _cat(labels)

    def _add_image_distances(self, pixel: Tensor, perceptual: list[Tensor]) -> None:
        split = self.protocol.split
        self.found.metrics["pixel_distance"] = Metric(
            value=float(pixel.double().mean()),
            samples=len(pixel),
            split=split,
            definition="root mean square difference to the reconstruction in 8-bit levels, "
            "mean over images",
        )
        if self.perceptual:
            self.found.metrics[f"perceptual_distance{self.perceptual.slug}"] = Metric(
                value=float(torch.cat(perceptual).double().mean()),
                samples=len(pixel),
                split=split,
                extractor=self.perceptual.name,
                extractor_sha256=self.perceptual.sha256,
                definition="mean squared difference of relu4_3 to the reconstruction",
            )

    def _path_length(self, perceptual: Perceptual) -> None:
        p = self.protocol
        value = path_length(
            lambda z: self.model.decode(z.to(self.device)),
            perceptual.distance,
            self._latent_dim(),
            p.samples,
            p.seed,
            self.images.batch_size,
            self._counter("path length"),
        )
        self.found.metrics[f"ppl_{perceptual.name.replace('-', '_')}_relu4_3"] = Metric(
            value=value,
            samples=p.samples,
            split="prior",
            extractor=perceptual.name,
            extractor_sha256=perceptual.sha256,
            definition="perceptual path length, full, ε = 1e-4, of relu4_3",
        )

    def _probe(self, train: Tensor, train_labels: Tensor, test: Tensor, labels: Tensor) -> None:
        self.report(0, None, "linear probe")
        names = self.images.manifest.classes or []
        classes = max(len(names), int(max(train_labels.max(), labels.max())) + 1)
        found = probe(train, train_labels, test, labels, classes, self.protocol.seed)
        self.found.probe = found
        for name, value, definition in (
            (
                "probe_error_mean",
                found.mean,
                "error of a linear classifier on the latents, 5 trials",
            ),
            ("probe_error_ci95", found.ci95, "half width of its 95 % confidence interval"),
        ):
            self.found.metrics[name] = Metric(
                value=value, samples=len(labels), split=self.protocol.split, definition=definition
            )

    def _other_split(self) -> str | None:
        """Where real images come from that are not those measured against."""
        splits = self.images.manifest.splits
        for name in ("train", "test", *splits):
            if name in splits and name != self.protocol.split:
                return name
        return None

    def _latent_dim(self) -> int:
        return int(self.model.config.model.latent_dim)

    def _finite(self, images: Tensor) -> Tensor:
        if not images.isfinite().all():
            raise UserError(
                "the model makes images that are not finite numbers; its training has diverged, "
                "so evaluate an earlier snapshot"
            )
        return images

    def _counter(self, what: str, total: int | None = None) -> Tally:
        return Tally(self.report, total or self.protocol.samples, what)


def prior(samples: int, latent_dim: int, seed: int, clamp: float | None) -> Tensor:
    """Latents from N(0, I), ``(samples, latent_dim)``, the same for every batch size and device."""
    z = torch.randn(samples, latent_dim, generator=torch.Generator().manual_seed(seed))
    return z if clamp is None else z.clamp(-clamp, clamp)


def _cat(parts: list[Tensor]) -> Tensor | None:
    return torch.cat(parts) if parts else None
