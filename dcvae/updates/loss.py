"""What goes into an update besides networks and images, and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from dcvae.objective.augmentation import augment
from dcvae.updates.networks import Networks

Terms = dict[str, Tensor]
"""Scalars by name, before they are weighted."""
Forward = Callable[..., Any]
"""Calls a network for a backward pass: the network itself, or an engine around it."""


@dataclass(frozen=True)
class Noise:
    """The random numbers of an update on N images, rows of a global batch."""

    posterior: Tensor
    """ε of z = μ + σ·ε, [N, latent_dim], standard normal."""
    prior: Tensor | None = None
    """Latents of the M samples, [M, latent_dim], standard normal; if Eq. 4 needs them."""
    mixtures: Tensor | None = None
    """Positions between real images and fakes, [N] in [0, 1]; for the gradient penalty."""
    first: int = 0
    """Index of the first of the N images in the global batch."""
    augmentation: Tensor | None = None
    """Draws for augmenting the N images and their reconstructions, [N, DRAWS] in [0, 1); None: no
    augmentation."""
    prior_augmentation: Tensor | None = None
    """The same for the M samples, [M, DRAWS]."""
    patch: Tensor | None = None
    """Location of the local patch (4.1), [1] as :func:`~dcvae.models.dual_encoder.pixel_at` takes
    it, the same for all images; None: no local patch."""

    def seen(self, images: Tensor) -> Tensor:
        """The N images, or their reconstructions, as shown to D."""
        return images if self.augmentation is None else augment(images, self.augmentation)

    def seen_samples(self, samples: Tensor) -> Tensor:
        """The M samples as shown to D."""
        if self.prior_augmentation is None:
            return samples
        return augment(samples, self.prior_augmentation)


@dataclass(frozen=True)
class Loss:
    """What an update minimises."""

    value: Tensor
    """Scalar, with gradient: the weighted sum of the terms."""
    terms: Terms
    """Its terms before they are weighted, and other values worth logging, such as accuracies."""
    keys: dict[str, Tensor] = field(default_factory=dict)
    """Keys of these images by contrasted layer, [N, E] each, for the queues of negatives."""


class Update(Protocol):
    """One of the three: :class:`DiscriminatorUpdate` and its siblings."""

    @property
    def name(self) -> str:
        """``discriminator``, ``generator`` or ``contrastive``."""

    def __call__(self, networks: Networks, images: Tensor, noise: Noise) -> Loss:
        """The loss on ``images`` [N, C, r, r] in [-1, 1], already mirrored and faded."""

    def trains(self, networks: Networks) -> dict[str, set[str]]:
        """The parts at work that the update changes, by network."""
