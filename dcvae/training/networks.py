"""Everything that learns or remembers in a run: the networks, their averages and the negatives."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from dcvae.config import Config
from dcvae.models import DCVAE, build_dual_encoder
from dcvae.models.recomputing import recompute_from
from dcvae.objective.negatives import NegativeQueue
from dcvae.training import ranks

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Networks(nn.Module):
    """The autoencoder, its average, the dual encoder, its momentum copy and the negative queues.

    Built from ``config.training.seed`` alone, so that all ranks start equal. ``vae`` has no dual
    encoder; only the contrastive methods have keys and queues.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.training.seed)
            self.autoencoder = DCVAE(config)
            self.dual_encoder = build_dual_encoder(config.model)
        recompute_from(self, config.training.checkpoint_activations_from)
        self.averaged = _frozen_copy(self.autoencoder).eval()
        """ᾱ: the moving average of encoder and decoder, which snapshots hold."""
        self.key_encoder = _frozen_copy(self.dual_encoder)
        """The momentum copy of D that makes keys (He et al., 2020)."""
        self.queues = nn.ModuleDict()
        if config.objective.contrastive:
            dims = {"low": config.model.embedding_dim, "high": config.model.embedding_dim}
            if config.objective.local_patches_after is not None:
                dims["patch"] = self.dual_encoder.patch_dim
            self.queues = nn.ModuleDict(
                {name: NegativeQueue(config.objective.negatives, d) for name, d in dims.items()}
            )

    def grow_to(self, resolution: int, fade: float) -> None:
        """Set the resolution at work; the keys of another resolution are forgotten."""
        if resolution != self.autoencoder.resolution:
            for queue in self.queues.values():
                queue.clear()  # type: ignore[operator]
        self.autoencoder.grow_to(resolution, fade)
        self.averaged.grow_to(resolution, fade)

    @torch.no_grad()
    def update_average(self) -> None:
        """ᾱ ← d·ᾱ + (1 − d)·α after a generator step; d = ``average_decay``.

        Buffers (batch statistics, spectral norms) are the live ones, as in the released code.
        """
        _lerp(self.averaged, self.autoencoder, 1 - self.config.training.average_decay)
        live = dict(self.autoencoder.named_buffers())
        for name, buffer in self.averaged.named_buffers():
            buffer.copy_(live[name])

    @torch.no_grad()
    def update_keys(self) -> None:
        """θ_k ← m·θ_k + (1 − m)·θ_q before keys are made (He et al., 2020, Eq. 2)."""
        _lerp(self.key_encoder, self.dual_encoder, 1 - self.config.objective.key_momentum)

    @torch.no_grad()
    def non_finite(self) -> str | None:
        """Name of a weight or statistic that is NaN or infinite; none if all are finite."""
        floats = {n: t for n, t in self.state_dict().items() if t.is_floating_point()}
        largest = torch.stack(
            [norm.float() for norm in torch._foreach_norm(list(floats.values()), float("inf"))]
        )
        bad = (~largest.isfinite()).nonzero().flatten().tolist()
        return list(floats)[bad[0]] if bad else None

    def equalize(self) -> None:
        """Make every rank equal to rank 0; DeepSpeed itself sends parameters only."""
        state: list[Tensor] = [*self.parameters(), *self.buffers()]
        with torch.no_grad():
            ranks.broadcast(state)


def _frozen_copy(module: ModuleT) -> ModuleT:
    return copy.deepcopy(module).requires_grad_(False)


def _lerp(target: nn.Module, source: nn.Module, weight: float) -> None:
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), weight)
