"""All state of a training: the networks, their averages and the negatives."""

import copy
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from dcvae.config import Config
from dcvae.models import DCVAE, DualEncoder, build_dual_encoder
from dcvae.models.layers import Fade
from dcvae.models.recomputing import recompute_from
from dcvae.objective.averaging import decay
from dcvae.objective.negatives import NegativeQueue

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Networks(nn.Module):
    """The autoencoder, its average, the dual encoder, its momentum copy and the negative queues.

    Initialized from ``config.training.seed`` alone, so that all ranks start equal. Holds only what
    the method needs: ``vae`` has no dual encoder; only contrastive methods have keys and queues.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        objective = config.objective
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.training.seed)
            self.autoencoder = DCVAE(config)
            self.dual_encoder = build_dual_encoder(config.model) if objective.uses_d else None
            """D; None for ``vae``."""
        recompute_from(self, config.training.checkpoint_activations_from)
        self.averaged = _frozen_copy(self.autoencoder).eval()
        """ᾱ: the moving average of encoder and decoder, which is what snapshots hold."""
        self.key_encoder = _frozen_copy(self.discriminator) if objective.contrastive else None
        """The momentum copy of D that makes keys (He et al., 2020); None without Eq. 6."""
        self.register_buffer("fade", torch.ones(()), persistent=False)
        self.fade: Tensor
        """Weight of the newest resolution while it fades in; always the same memory, for graphs."""
        self.queues = nn.ModuleDict()
        if objective.contrastive:
            dims = {"low": config.model.embedding_dim, "high": config.model.embedding_dim}
            if objective.local_patches_after is not None:
                dims["patch"] = self.discriminator.patch_dim
            self.queues = nn.ModuleDict(
                {name: NegativeQueue(objective.negatives, d) for name, d in dims.items()}
            )

    def lay_out(self, layout: torch.memory_format) -> None:
        """Store the weights of convolutions in the memory format of the images.

        Otherwise a convolution converts them at each call. Weights under spectral norm stay as they
        are: they are used as matrices, and the normalized ones are new tensors at each pass.
        """
        for module in self.modules():
            weight = module._parameters.get("weight")
            if weight is not None and weight.dim() == 4:
                weight.data = weight.data.contiguous(memory_format=layout)

    @property
    def discriminator(self) -> DualEncoder:
        """D, for the methods that have it."""
        assert self.dual_encoder is not None, f"{self.config.objective.method} has no D"
        return self.dual_encoder

    @property
    def at(self) -> tuple[int, Fade]:
        """The current resolution (pixels) and the weight of its newest layers (0 to 1)."""
        return self.autoencoder.resolution, self.autoencoder.fade

    @property
    def trained(self) -> dict[str, nn.Module]:
        """The networks with an optimizer, by name."""
        found = {"autoencoder": self.autoencoder, "dual_encoder": self.dual_encoder}
        return {name: network for name, network in found.items() if network is not None}

    def keys_of(self, *inputs: Any) -> Any:
        """Call the momentum copy of D like D itself."""
        assert self.key_encoder is not None, "keys are for the contrastive methods"
        return self.key_encoder(*inputs)

    def negatives(self, layer: str) -> Tensor:
        """The keys of earlier images at a contrasted layer: [K, E], K ≥ 0."""
        return self._queue(layer).valid()

    @property
    def full(self) -> bool:
        """Whether every queue of negatives is full."""
        return all(len(self.negatives(name)) == self._queue(name).size for name in self.queues)

    def push(self, layer: str, all_keys: Tensor) -> None:
        """Add the keys of all ranks' images, [M, E] in rank order, to the negatives."""
        self._queue(layer).push(all_keys)

    def _queue(self, layer: str) -> NegativeQueue:
        return cast(NegativeQueue, self.queues[layer])

    def grow_to(self, resolution: int, fade: float) -> None:
        """Set the current resolution; a new one empties the queues of negatives."""
        if resolution != self.autoencoder.resolution:
            for layer in self.queues:
                self._queue(layer).clear()
        self.autoencoder.grow_to(resolution, self.fade.fill_(fade) if fade < 1 else fade)
        self.averaged.grow_to(resolution, fade)

    @torch.no_grad()
    def update_average(self, images: int, shown: int) -> None:
        """ᾱ ← d·ᾱ + (1 − d)·α after a step on ``images``; ``shown`` counts all so far.

        d is ``average_decay``, or follows from ``average_half_life`` if that is set.
        Buffers (batch statistics, spectral norms) are the live ones, as in the released code.
        """
        training = self.config.training
        kept = training.average_decay
        if training.average_half_life is not None:
            kept = decay(images, shown, training.average_half_life)
        _lerp(self.averaged, self.autoencoder, 1 - kept)
        live = list(self.autoencoder.buffers())
        if live:  # Progressive GAN's networks have none
            torch._foreach_copy_(list(self.averaged.buffers()), live)

    @torch.no_grad()
    def update_keys(self) -> None:
        """θ_k ← m·θ_k + (1 − m)·θ_q before keys are made (He et al., 2020, Eq. 2)."""
        assert self.key_encoder is not None
        _lerp(self.key_encoder, self.discriminator, 1 - self.config.objective.key_momentum)

    @torch.no_grad()
    def non_finite(self) -> str | None:
        """Name of a weight or statistic that is NaN or infinite; None if all are finite."""
        floats = {n: t for n, t in self.state_dict().items() if t.is_floating_point()}
        largest = torch.stack(
            [norm.float() for norm in torch._foreach_norm(list(floats.values()), float("inf"))]
        )
        bad = (~largest.isfinite()).nonzero().flatten().tolist()
        return list(floats)[bad[0]] if bad else None


def _frozen_copy(module: ModuleT) -> ModuleT:
    return copy.deepcopy(module).requires_grad_(False)


def _lerp(target: nn.Module, source: nn.Module, weight: float) -> None:
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), weight)
