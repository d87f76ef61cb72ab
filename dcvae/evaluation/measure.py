"""Measures a model in passes over real images, their reconstructions, samples, and training data.

Images are streamed. Kept are only moments of features, some features, some latents, and the few
images that are shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dcvae.errors import UserError
from dcvae.evaluation.ahead import no_probe, no_reconstructions, probed_split
from dcvae.evaluation.feature_set import FeatureSet
from dcvae.evaluation.labelled import Labelled
from dcvae.evaluation.measured_sets import MeasuredSets, Reconstructed
from dcvae.evaluation.names import KINDS, PROBE, metric_name
from dcvae.evaluation.passes import FirstRows, Normal
from dcvae.evaluation.perceptual import Perceptual, path_length, path_steps
from dcvae.evaluation.principal import principal_components
from dcvae.evaluation.probe import Probe, probe
from dcvae.evaluation.real_images import Drawn
from dcvae.evaluation.results import Metric
from dcvae.evaluation.sets import SetDistances, reading_order
from dcvae.evaluation.shown import Shown, examples_by_class
from dcvae.pictures import to_float

SHOWN = 64
PATHS = 2 << 32
"""Added to the seed, so that the ends of paths are not the samples again."""


@dataclass
class Measured:
    """What the passes have found."""

    metrics: dict[str, Metric] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    """What could not be measured, and why."""
    probe: Probe | None = None
    shown: Shown = field(default_factory=Shown)
    """What the pictures are drawn from."""


class Measurement:
    """One model measured by one protocol."""

    def __init__(self, sets: MeasuredSets) -> None:
        self.sets, self.protocol, self.passes = sets, sets.protocol, sets.passes
        self.images, self.perceptual = sets.images, sets.perceptual
        self.found = Measured()

    @torch.no_grad()
    def run(self) -> Measured:
        """Make all passes, for every metric that the data allows."""
        self.sets.check_model()
        reference, other = self.sets.reference(), self.sets.other()
        reconstructed, sampled = self.sets.reconstructions(), self.sets.samples()
        self._distances(reference, other, sampled, reconstructed)
        self._image_distances(reconstructed)
        self._draw()
        self._probe(reconstructed)
        if self.perceptual:
            self._path_length(self.perceptual)
        self.found.metrics = dict(sorted(self.found.metrics.items(), key=reading_order))
        return self.found

    def _distances(
        self,
        reference: FeatureSet,
        other: FeatureSet | None,
        sampled: FeatureSet,
        reconstructed: Reconstructed,
    ) -> None:
        extractor = self.sets.extractor.described
        if other is None:
            self.found.left_out["the same distances of other real images"] = (
                f"there are no images besides those of the split {self.protocol.reference_split}"
            )
        distances = SetDistances(extractor, self.protocol, reference, other)
        distances.advance = self.passes.counted("distances", distances.total)
        for kind, ours in zip(KINDS, (sampled, reconstructed.features), strict=True):
            if not ours.total:
                name = metric_name("fid", kind, extractor.name)
                self.found.left_out[name] = no_reconstructions(
                    self.images.manifest, self.protocol.reconstructed_split
                )
                continue
            metrics, left_out = distances.metrics(kind, ours)
            self.found.metrics |= metrics
            self.found.left_out |= left_out

    def _image_distances(self, found: Reconstructed) -> None:
        split, count = self.protocol.reconstructed_split, found.pixel.count
        decoded = "a sample" if self.protocol.latent == "sampled" else "the mean"
        if not count:
            self.found.left_out["pixel_distance"] = no_reconstructions(
                self.images.manifest, self.protocol.reconstructed_split
            )
            return
        self.found.metrics["pixel_distance"] = Metric(
            value=found.pixel.value,
            samples=count,
            split=split,
            definition="root mean square difference to the reconstruction from "
            f"{decoded} of q(z|x) in 8-bit levels, mean over images",
        )
        if self.perceptual:
            self.found.metrics[f"perceptual_distance{self.perceptual.slug}"] = Metric(
                value=found.perceptual.value,
                samples=count,
                split=split,
                extractor=self.perceptual.name,
                extractor_sha256=self.perceptual.sha256,
                definition="mean squared difference of relu4_3 to the reconstruction",
            )

    def _path_length(self, perceptual: Perceptual) -> None:
        p, dimensions = self.protocol, self.sets.latent_dim
        total = self.sets.sample_count
        values = FirstRows(total)

        def batches(done: int) -> Iterator[Tensor]:
            ends = Normal(2 * dimensions + 1, p.seed + PATHS, done)
            return ends.batches(total - done, self.images.batch_size)

        def step(ends: Tensor) -> int:
            values.add(path_steps(self.sets.decoded, perceptual.distance, ends))
            return len(ends)

        self.passes.run("path length", total, {"values": values}, batches, step)
        self.found.metrics[f"ppl_{perceptual.name.replace('-', '_')}_relu4_3"] = Metric(
            value=path_length(values.rows),
            samples=total,
            split="prior",
            extractor=perceptual.name,
            extractor_sha256=perceptual.sha256,
            definition="perceptual path length, full, ε = 1e-4, of relu4_3",
        )

    def _probe(self, measured: Reconstructed) -> None:
        """The linear classifier, or why there is none; also examples of classes for pictures."""
        p, held = self.protocol, measured.labelled
        try:
            split = self._probed_split(held)
            train = self._labelled(split)
            self.found.shown.examples = examples_by_class(train.latents.rows, train.labels.rows)
            self.passes.tell("linear probe")
            found = self._probed(train, held, train.latents.rows, held.latents.rows)
            components = self._probed_components(split, train, held)
        except UserError as reason:
            self.found.left_out |= dict.fromkeys(PROBE, str(reason))
            return
        self.found.probe = found
        about = f"error of a linear classifier on the latents, {p.probe_trials} trials"
        interval = "half width of its 95 % confidence interval"
        for name, value, other, definition in (
            (PROBE[0], found.mean, components.mean, about),
            (PROBE[1], found.ci95, components.ci95, interval),
        ):
            self.found.metrics[name] = Metric(
                value=value,
                samples=len(held),
                split=p.reconstructed_split,
                components=other,
                definition=definition,
            )

    def _probed_split(self, held: Labelled) -> str:
        """The split that the classifier learns from."""
        manifest, split = self.images.manifest, self.protocol.reconstructed_split
        if why := no_probe(manifest, split):
            raise UserError(why)
        if not len(held):
            raise UserError("the images have no labels")
        return probed_split(manifest, split) or split

    def _labelled(self, split: str) -> Labelled:
        p = self.protocol
        total = self.images.count(split, p.probe_images)
        found = Labelled(total)

        def step(batch: Drawn) -> int:
            mu, _ = self.sets.model.encode(to_float(batch.images).to(self.sets.device))
            found.add(mu, batch.images, batch.labels)
            return len(batch.images)

        def batches(done: int) -> Iterator[Drawn]:
            return self.images.drawn(split, p.probe_images, p.seed, done)

        self.passes.run("latents for the probe", total, {"labelled": found}, batches, step)
        return found

    def _probed(self, train: Labelled, held: Labelled, x: Tensor, x_held: Tensor) -> Probe:
        """The classifier of ``x`` ``(N, d)``, read from the images ``train``, on those held out."""
        p, names = self.protocol, self.images.manifest.classes or []
        labels = train.labels.rows, held.labels.rows
        classes = max(len(names), *(int(each.max()) + 1 for each in labels))
        return probe(x, labels[0], x_held, labels[1], classes, p.seed, p.probe_trials)

    def _probed_components(self, split: str, train: Labelled, held: Labelled) -> Probe:
        """The classifier of principal components, which no model changes."""
        p, known = self.protocol, self.sets.known
        key = known.key(
            "principal-components",
            {
                "format": 1,
                "data": self.images.manifest.fingerprint,
                "resolution": self.images.resolution,
                "learnt from": [split, p.probe_images],
                "held out": [p.reconstructed_split, p.reconstructions, p.probe_images],
                "dimensions": self.sets.latent_dim,
                "seed": p.seed,
                "trials": p.probe_trials,
            },
        )
        if (found := known.get(key, Probe.of)) is None:
            self.passes.tell("linear probe of principal components")
            pixels = train.pixels.rows, held.pixels.rows
            found = self._probed(train, held, *principal_components(*pixels, self.sets.latent_dim))
            known.put(key, found, found.tensors())
        return found

    def _draw(self) -> None:
        """Keep the images that are shown: the first of each kind."""
        p, shown = self.protocol, self.found.shown
        for split in (p.reconstructed_split, p.reference_split):
            if self.images.size(split):
                break
        inputs, labels, count = [], [], 0
        for batch in self.images.drawn(split, p.reconstructions, p.seed):
            inputs.append(to_float(batch.images))
            labels += [] if batch.labels is None else [batch.labels]
            count += len(batch.images)
            if count >= SHOWN:
                break
        shown.inputs = torch.cat(inputs)[:SHOWN]
        shown.labels = torch.cat(labels)[:SHOWN] if labels else None
        shown.split = split
        shown.samples = torch.cat(
            [self.sets.decoded(z).float().cpu() for z in self.sets.prior(SHOWN)]
        )
