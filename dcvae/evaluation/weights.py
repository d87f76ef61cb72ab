"""Weights from users: found at a path or URI, checked by SHA-256, read without pickle."""

import hashlib
import io
import os
from pathlib import Path

import torch
from torch import Tensor

from dcvae.errors import UserError
from dcvae.storage import NotFound, Storage, open_storage


def find_weights(given: str | None, variable: str, file_name: str) -> str:
    """Where the weights are: as ``given``, as in the environment, or in torch hub's cache."""
    default = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    return given or os.environ.get(variable) or str(default)


def check_there(place: str, missing: str) -> None:
    """Refuse a place without weights, without reading them.

    Raises:
        UserError: there is no such file; with the message of :func:`read_weights`.
    """
    storage, name = _split(place)
    if storage.stat(name) is None:
        raise UserError(f"there are no weights at {place}: {missing}")


def _split(place: str) -> tuple[Storage, str]:
    folder, _, name = place.rpartition("/")
    return open_storage(folder or ("/" if place.startswith("/") else ".")), name


def read_weights(place: str, sha256: str, missing: str) -> bytes:
    """The bytes of the weights at a path, a ``file://`` or an ``s3://`` URI.

    Args:
        sha256: what their hex SHA-256 starts with.
        missing: what the message says after naming the place, if there are none.

    Raises:
        UserError: there is no such file, or it has another SHA-256.
    """
    storage, name = _split(place)
    try:
        content = storage.read(name)
    except NotFound:
        raise UserError(f"there are no weights at {place}: {missing}") from None
    found = digest(content)
    if not found.startswith(sha256):
        raise UserError(
            f"the weights in {place} have SHA-256 {found[:16]}…, expected {sha256[:16]}…: "
            "the file is damaged or another model's; fetch it again"
        )
    return content


def digest(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def as_state(content: bytes) -> dict[str, Tensor]:
    """The state dict in a file of ``torch.save``, on the CPU; no code in it is executed."""
    weights: dict[str, Tensor] = torch.load(
        io.BytesIO(content), map_location="cpu", weights_only=True
    )
    return weights
