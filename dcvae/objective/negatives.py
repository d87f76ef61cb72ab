"""The queue of negatives: keys of earlier images from all ranks (paper 5.1; He et al., 2020)."""

import torch
from torch import Tensor, nn


class NegativeQueue(nn.Module):
    """A ring of the last ``size`` keys, equal on every rank because every rank pushes all keys.

    Slots that no key has filled yet are never given out.
    """

    def __init__(self, size: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(size, embedding_dim))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))
        self.keys: Tensor
        self.pushed: Tensor
        self._pushed = 0  # Host copy of `pushed`: slicing must not wait for the device.

    @property
    def size(self) -> int:
        """The most keys that it holds."""
        return len(self.keys)

    def valid(self) -> Tensor:
        """The keys pushed so far, at most ``size``: [K, embedding_dim], in no special order."""
        return self.keys[: min(self._pushed, len(self.keys))]

    @torch.no_grad()
    def push(self, all_keys: Tensor) -> None:
        """Store the keys [M, embedding_dim] of all ranks, in rank order, over the oldest ones.

        Any M will do: a batch wraps round the end, and of more than ``size`` keys the last stay.
        """
        size = len(self.keys)
        kept = all_keys.detach()[-size:].to(self.keys.dtype)
        start = self._pushed + len(all_keys) - len(kept)
        slots = torch.arange(start, start + len(kept), device=self.keys.device) % size
        self.keys.index_copy_(0, slots, kept)
        self._set_pushed(self._pushed + len(all_keys))

    def clear(self) -> None:
        """Forget every key: the layer they came from has changed."""
        self.keys.zero_()
        self._set_pushed(0)

    def _set_pushed(self, count: int) -> None:
        self._pushed = count
        self.pushed.fill_(count)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._pushed = int(self.pushed)
