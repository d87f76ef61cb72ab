"""The sets of images that a measurement needs, each made in one pass that can be resumed."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dcvae.errors import UserError
from dcvae.evaluation.distances import pixel_distance
from dcvae.evaluation.extractors import Extractor
from dcvae.evaluation.feature_set import FeatureSet
from dcvae.evaluation.labelled import Labelled
from dcvae.evaluation.passes import Mean, Normal, Passes
from dcvae.evaluation.perceptual import Perceptual
from dcvae.evaluation.protocol import Protocol
from dcvae.evaluation.real_images import Drawn, RealImages
from dcvae.evaluation.reference import Reference
from dcvae.models import DCVAE
from dcvae.pictures import to_float, to_uint8

POSTERIOR = 1 << 32
"""Added to the seed, so that the noise of q(z|x) is not that of the samples again."""


class DivergedError(UserError):
    """A model makes images that are not finite numbers."""


@dataclass
class Reconstructed:
    """What a pass over real images and their reconstructions accumulates."""

    features: FeatureSet
    pixel: Mean
    perceptual: Mean
    labelled: Labelled


class MeasuredSets:
    """The sets of one model and one set of real images, streamed by one protocol.

    Args:
        passes: those that depend on the model.
        known: statistics of real images that exist already.
        shared: passes over real images only, which the evaluation of any model may resume.
    """

    def __init__(
        self,
        model: DCVAE,
        images: RealImages,
        protocol: Protocol,
        extractor: Extractor,
        perceptual: Perceptual | None = None,
        passes: Passes | None = None,
        known: Reference | None = None,
        shared: Passes | None = None,
    ) -> None:
        self.model, self.images, self.protocol = model, images, protocol
        self.extractor, self.perceptual = extractor, perceptual
        self.passes = passes or Passes(None, "")
        self.known, self._shared = known or Reference(), shared or self.passes
        self.device = next(model.parameters()).device

    def reference(self) -> FeatureSet:
        """The real images that the sets are compared with."""
        p = self.protocol
        return self._real_set("real images", p.reference_split, p.reference_images)

    @torch.no_grad()
    def samples(self, most: int | None = None) -> FeatureSet:
        """Images decoded from the prior."""
        found = self._empty(min(self.sample_count, most or self.sample_count))

        def batches(done: int) -> Iterator[Tensor]:
            return self.prior(found.total, done)

        def step(z: Tensor) -> int:
            self._add(found, to_uint8(self.decoded(z)))
            return len(z)

        self.passes.run("samples", found.total, {"set": found}, batches, step)
        found.finish()
        return found

    @torch.no_grad()
    def reconstructions(self, most: int | None = None) -> Reconstructed:
        """Real images and their reconstructions."""
        p = self.protocol
        wanted = min(p.reconstructions, most or p.reconstructions)
        total = self.images.count(p.reconstructed_split, wanted)
        found = Reconstructed(self._empty(total), Mean(), Mean(), Labelled(p.probe_images))
        noise: Normal | None = None

        def batches(done: int) -> Iterator[Drawn]:
            nonlocal noise
            noise = Normal(self.latent_dim, p.seed + POSTERIOR, done)
            return self.images.drawn(p.reconstructed_split, wanted, p.seed, done, p.neighbourhoods)

        def step(batch: Drawn) -> int:
            assert noise is not None
            eps = noise.take(len(batch.images))
            self._add_reconstructions(found, batch, eps)
            return len(batch.images)

        if total:
            parts = dict(vars(found))
            self.passes.run("reconstructions", total, parts, batches, step)
            found.features.finish()
        return found

    def other(self) -> FeatureSet | None:
        """Other real images than the reference, to measure how far apart real sets are."""
        p, splits = self.protocol, self.images.manifest.splits
        for split in (p.reconstructed_split, "train", "test", *splits):
            if split != p.reference_split and self.images.size(split):
                return self._real_set("other real images", split, self.sample_count)
        return None

    def _real_set(self, what: str, split: str, wanted: int | None) -> FeatureSet:
        p, total = self.protocol, self.images.count(split, wanted)
        key = self.known.key(
            self.extractor.name,
            {
                "format": 2,
                "data": self.images.manifest.fingerprint,
                "split": split,
                "images": total,
                "kept": p.neighbourhoods,
                "resolution": self.images.resolution,
                "seed": p.seed,
                "extractor": self.extractor.sha256,
                "input": self.extractor.input_size,
                "splits": p.score_splits,
            },
        )

        def read(tensors: dict[str, Tensor]) -> FeatureSet | None:
            kept = self._empty(total)
            kept.restore(tensors)
            return kept if len(kept) == total else None

        if (known := self.known.get(key, read)) is not None:
            return known
        found = self._empty(total)

        def step(batch: Drawn) -> int:
            self._add(found, batch.images, batch.kept)
            return len(batch.images)

        def batches(done: int) -> Iterator[Drawn]:
            return self.images.drawn(split, wanted, p.seed, done, p.neighbourhoods)

        if total:
            self._shared.run(what, total, {"set": found}, batches, step)
            found.finish()
            self.known.put(key, found, found.state())
        return found

    def _add_reconstructions(self, found: Reconstructed, batch: Drawn, eps: Tensor) -> None:
        x = to_float(batch.images).to(self.device)
        mu, logvar = self.model.encode(x)
        sampled = self.protocol.latent == "sampled"
        z = mu + (0.5 * logvar).exp() * eps.to(self.device) if sampled else mu
        y = self.decoded(z)
        found.pixel.add(pixel_distance(x, y).cpu())
        if self.perceptual:
            found.perceptual.add(self.perceptual.distance(x, y))
        found.labelled.add(mu, batch.images, batch.labels)
        self._add(found.features, to_uint8(y), batch.kept)

    def _empty(self, total: int) -> FeatureSet:
        return FeatureSet(total, self.protocol.neighbourhoods, self.protocol.score_splits)

    def _add(self, found: FeatureSet, images: Tensor, chosen: Tensor | None = None) -> None:
        layers = self.extractor(images)
        logits = layers.get(self.extractor.logits_layer or "")
        found.add(layers[self.extractor.feature_layer], logits, chosen)

    @property
    def sample_count(self) -> int:
        """How many images are decoded from the prior."""
        p = self.protocol
        return p.samples or self.images.count(p.reference_split, p.reference_images)

    def prior(self, count: int, skip: int = 0) -> Iterator[Tensor]:
        """``count`` latents from the prior in batches ``(n, d)``, after skipping ``skip``."""
        clamp = self.protocol.latent_clamp
        latents = Normal(self.latent_dim, self.protocol.seed, skip)
        for z in latents.batches(count - skip, self.images.batch_size):
            yield z if clamp is None else z.clamp(-clamp, clamp)

    @property
    def latent_dim(self) -> int:
        """Dimensions of z."""
        return int(self.model.config.model.latent_dim)

    @torch.no_grad()
    def check_model(self) -> None:
        """Refuse a model whose training has diverged, before anything is measured.

        Raises:
            DivergedError: its images are not finite.
        """
        self.decoded(next(self.prior(2)))

    def decoded(self, z: Tensor) -> Tensor:
        """Images ``(n, C, r, r)`` decoded from latents, on the model's device.

        Raises:
            DivergedError: they are not finite.
        """
        images: Tensor = self.model.decode(z.to(self.device))
        if not images.isfinite().all():
            raise DivergedError(
                "the model makes images that are not finite numbers; its training has diverged, "
                "so evaluate an earlier snapshot"
            )
        return images
