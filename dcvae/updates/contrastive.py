"""The contrastive update: reconstructions and D agree on which image is which."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dcvae.config import ObjectiveConfig
from dcvae.models import Generated
from dcvae.objective.instance import info_nce, instance_accuracy, instance_logits
from dcvae.objective.kl import kl_divergence
from dcvae.objective.precision import at_least_float32
from dcvae.updates.loss import Forward, Loss, Noise, Terms
from dcvae.updates.networks import Networks


@dataclass(frozen=True)
class ContrastiveUpdate:
    """min_{θ,φ,D} of Eq. 8, L_instance and KL: all three networks work together.

    In each contrasted layer l, with equal weights: let q = D_l(x̂) be the query of an image,
    k = D̄_l(x) its key, D̄ the momentum copy of D, and h the cosine similarity over the temperature:

    E[−log exp h(q, k) / (exp h(q, k) + Σ_i exp h(q, n_i))] + β · KL[q_φ(z|x) ‖ N(0, I)]

    where n_i are the keys of earlier images. Keys carry no gradient.
    """

    objective: ObjectiveConfig
    autoencoder: Forward | None = None
    """What calls the autoencoder for the backward pass, such as an engine; None: itself."""
    dual_encoder: Forward | None = None
    """What calls D for the backward pass; None: itself."""
    name: ClassVar[str] = "contrastive"

    def __call__(self, networks: Networks, images: Tensor, noise: Noise) -> Loss:
        """As in :class:`Update`; also returns the keys of ``images``."""
        head = (*networks.at, "embed", noise.patch)
        made: Generated = (self.autoencoder or networks.autoencoder)(images, noise.posterior)
        with torch.no_grad():
            keys: dict[str, Tensor] = networks.keys_of([noise.seen(images)], *head)[0]
        forward = self.dual_encoder or networks.discriminator
        queries: dict[str, Tensor] = forward([noise.seen(made.reconstruction)], *head)[0]
        losses, terms = [], Terms()
        for name, query in queries.items():
            negatives = networks.negatives(name)
            logits = instance_logits(query, keys[name], negatives, self.objective.temperature)
            losses.append(info_nce(logits))
            terms[f"instance_{name}"] = losses[-1]
            terms[f"accuracy_{name}"] = instance_accuracy(logits.detach())
        kl = kl_divergence(at_least_float32(made.mu), at_least_float32(made.logvar))
        terms["kl_contrastive"] = kl
        instance = self.objective.instance_weight * torch.stack(losses).mean()
        return Loss(instance + self.objective.kl_weight * kl, terms, keys)

    def trains(self, networks: Networks) -> dict[str, set[str]]:
        """Encoder, decoder, D's trunk and its contrastive heads."""
        return {
            "autoencoder": networks.autoencoder.at_work(),
            "dual_encoder": networks.discriminator.at_work(*networks.at, "embed"),
        }
