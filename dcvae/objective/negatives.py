"""The queue of negatives: keys of earlier images from all ranks (paper 5.1; He et al., 2020)."""

import torch
from torch import Tensor, nn


class NegativeQueue(nn.Module):
    """A ring of the last ``size`` keys, the same on every rank because every rank pushes all keys.

    Slots that are still empty are never returned.
    """

    def __init__(self, size: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(size, embedding_dim))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))
        self.keys: Tensor
        self.pushed: Tensor
        self._pushed = 0  # `pushed` on the host, so that slicing does not wait for the device.

    @property
    def size(self) -> int:
        """How many keys fit in."""
        return len(self.keys)

    def valid(self) -> Tensor:
        """The keys held, [K, embedding_dim] with K ≤ ``size``, in no particular order."""
        return self.keys[: min(self._pushed, len(self.keys))]

    @torch.no_grad()
    def push(self, all_keys: Tensor) -> None:
        """Replace the oldest keys by those of all ranks, [M, embedding_dim] in rank order.

        M may be any number: a batch wraps around, and of more than ``size`` keys the last stay.
        """
        size = len(self.keys)
        kept = all_keys.detach()[-size:].to(self.keys.dtype)
        start = self._pushed + len(all_keys) - len(kept)
        slots = torch.arange(start, start + len(kept), device=self.keys.device) % size
        self.keys.index_copy_(0, slots, kept)
        self._set_pushed(self._pushed + len(all_keys))

    def clear(self) -> None:
        """Forget all keys, because the layer they came from has changed."""
        self.keys.zero_()
        self._set_pushed(0)

    def _set_pushed(self, count: int) -> None:
        self._pushed = count
        self.pushed.fill_(count)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._pushed = int(self.pushed)
