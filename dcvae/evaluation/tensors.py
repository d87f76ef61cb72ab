"""Tensors in storage that are whole or absent: safetensors with a checksum of their content."""

import hashlib
import json
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from dcvae.storage import NotFound, Storage

_SUM = "sha256"


def write_tensors(storage: Storage, key: str, tensors: Mapping[str, Tensor]) -> None:
    """Write the tensors whole or not at all."""
    content = {name: value.contiguous() for name, value in tensors.items()}
    storage.write(key, save(content, metadata={_SUM: _checksum(content)}))


def read_tensors(storage: Storage, key: str) -> dict[str, Tensor] | None:
    """The tensors under ``key``; None if there are none, or they are not what was written."""
    try:
        content = storage.read(key)
    except NotFound:
        return None
    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError:
        return None
    return tensors if _metadata(content).get(_SUM) == _checksum(tensors) else None


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return found


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        total.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        if value.numel():
            total.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
