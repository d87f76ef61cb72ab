"""DC-VAE: train, evaluate and use dual contradistinctive generative autoencoders."""

from typing import TYPE_CHECKING

from dcvae.version import __version__

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image

    from dcvae.inference import Model

__all__ = ["__version__", "load", "to_array", "to_pil"]


def load(
    uri: str,
    device: "str | torch.device" = "cpu",
    dtype: "torch.dtype | None" = None,
    registry: str | None = None,
) -> "Model":
    """Load a trained model, ready to encode, decode, reconstruct and sample.

    Args:
        uri: a snapshot, or a registered model: ``s3://bucket/models/name`` or ``…/name@champion``
            is its champion, ``…/name@3`` its third version; ``s3://``, ``file:///…`` or a path.
        device: where to put it, such as ``"cuda"``.
        dtype: what it computes in; float32 by default, as it was saved.
        registry: where an alias is looked up: ``s3`` (the bucket), ``kubeflow`` or ``mlflow``; the
            default is ``DCVAE_REGISTRY``.

    Raises:
        dcvae.errors.UserError: there is no such model or device, the model's bytes are not those
            that were saved, or a later version wrote it.
    """
    from dcvae.inference import Model
    from dcvae.registry import resolve
    from dcvae.snapshot import load_snapshot
    from dcvae.storage import open_storage

    return Model(load_snapshot(open_storage(resolve(uri, registry)))).to(device, dtype)


def to_array(images: "torch.Tensor") -> "NDArray[np.uint8]":
    """Images [N, C, H, W] in [-1, 1] as uint8 [N, H, W, C], or [N, H, W] if they are grey."""
    from dcvae.inference import to_array

    return to_array(images)


def to_pil(images: "torch.Tensor") -> "list[Image]":
    """Images [N, C, H, W] in [-1, 1] as PIL images of mode RGB or L."""
    from dcvae.inference import to_pil

    return to_pil(images)
