"""From the host to the device without waiting: pinned memory, few copies, a stream of its own."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
ALIGNMENT = 128
"""Every tensor of a packet starts at a multiple of this many numbers, for aligned access."""


class Packet:
    """Small float32 tensors that are copied to the device together, to a fixed address.

    Two host buffers take turns: one is filled while the other may still be in transfer. The address
    on the device stays the same as long as the sizes do, so that a graph can read it; the next
    packet overwrites it, in the order of the device's work. On the CPU nothing is copied.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.direct = device.type == "cpu"
        self.hosts: list[Tensor] = []
        self.sent: list[torch.cuda.Event] = []
        self.place = torch.empty(0)
        self.turn = 0

    def send(self, tensors: list[Tensor]) -> list[Tensor]:
        """Copy host ``tensors`` to the device."""
        if self.direct:
            return tensors
        starts, end = [], 0
        for tensor in tensors:
            starts.append(end)
            end += -(-tensor.numel() // ALIGNMENT) * ALIGNMENT
        self._make_room(end)
        self.turn = 1 - self.turn
        host = self.hosts[self.turn]
        if self.sent:
            self.sent[self.turn].synchronize()  # the packet before last: done long ago
        for start, tensor in zip(starts, tensors, strict=True):
            host[start : start + tensor.numel()].view(tensor.shape).copy_(tensor)
        self.place.copy_(host, non_blocking=True)
        if self.sent:
            self.sent[self.turn].record()
        return [
            self.place[start : start + tensor.numel()].view(tensor.shape)
            for start, tensor in zip(starts, tensors, strict=True)
        ]

    def _make_room(self, count: int) -> None:
        if len(self.place) == count and self.hosts:
            return
        on_gpu = self.device.type == "cuda"
        self.hosts = [torch.zeros(count, pin_memory=on_gpu) for _ in range(2)]
        self.place = torch.zeros(count, device=self.device)
        self.sent = [_event() for _ in range(2)] if on_gpu else []


class Departure:
    """An asynchronous copy of a small tensor to the host, read a step later.

    From a GPU it goes to pinned memory, after the work queued so far. On the CPU nothing is copied:
    the tensor must not change until it is read.
    """

    def __init__(self, values: Tensor) -> None:
        self.sent: torch.cuda.Event | None = None
        self.values = values
        if values.device.type == "cpu":
            return
        on_gpu = values.device.type == "cuda"
        self.values = torch.empty(values.shape, dtype=values.dtype, pin_memory=on_gpu)
        self.values.copy_(values, non_blocking=True)
        if on_gpu:
            self.sent = _event()
            self.sent.record()

    def read(self) -> Tensor:
        """The values on the host; blocks until they have arrived."""
        if self.sent is not None:
            self.sent.synchronize()
        return self.values


class Arrivals(Generic[T]):
    """Batches that are copied to the device before they are needed.

    ``prepare`` gives a batch's host tensors. For a GPU, a separate stream copies them from pinned
    memory while the device computes; PyTorch's allocators keep both ends of a copy until it is
    done.
    """

    def __init__(
        self,
        batches: Iterator[T],
        prepare: Callable[[T], list[Tensor]],
        device: torch.device,
    ) -> None:
        self.batches, self.prepare, self.device = batches, prepare, device
        self.beside = _stream(device) if device.type == "cuda" else None
        self.waiting: list[tuple[T, list[Tensor]]] = []

    def fetch(self, count: int) -> None:
        """Read ahead until ``count`` batches are waiting, and start copying them."""
        while len(self.waiting) < count:
            batch = next(self.batches)
            self.waiting.append((batch, self._start(self.prepare(batch))))

    def take(self, count: int) -> list[tuple[T, list[Tensor]]]:
        """The next ``count`` batches, with their tensors on the device."""
        self.fetch(count)
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        if self.beside is not None:
            now = torch.cuda.current_stream(self.device)
            now.wait_stream(self.beside)
            for _, tensors in taken:
                for tensor in tensors:
                    tensor.record_stream(now)
        return taken

    def _start(self, tensors: list[Tensor]) -> list[Tensor]:
        if self.beside is None:
            return [tensor.to(self.device) for tensor in tensors]
        with torch.cuda.stream(self.beside):
            return [t.pin_memory().to(self.device, non_blocking=True) for t in tensors]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
