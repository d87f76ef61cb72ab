"""A graph recorder without a GPU: kernels and addresses on a tape.

Like a CUDA graph, a tape replays what was launched, on the tensors that it was launched on, and
knows nothing of what the host decided. Unlike one it must run what it records; so it puts back what
was there before, and a recording changes nothing.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Notes every operation, its operands and what it made."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in tensors((args, kwargs)):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self.before:
                self.before[storage.data_ptr()] = (storage, storage.clone())
        made = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, tensors(made)))  # and nothing is freed
        return made

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, made in self.operations:
                again = tensors(func(*args, **kwargs))
                for place, value in zip(made, again, strict=True):
                    if place.data_ptr() != value.data_ptr():
                        place.copy_(value)


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def record(work: Callable[[], None]) -> Callable[[], None]:
    """A :data:`dcvae.training.graphs.Recorder`."""
    tape = Tape()
    with tape:
        work()
    for storage, value in tape.before.values():
        storage.copy_(value)
    return tape.replay
