"""DC-VAE: train, evaluate and use dual contradistinctive generative autoencoders."""

from typing import TYPE_CHECKING

from dcvae.version import __version__

if TYPE_CHECKING:
    from dcvae.models import DCVAE

__all__ = ["__version__", "load"]


def load(uri: str, device: str = "cpu") -> "DCVAE":
    """Load a trained model, ready to encode, decode, reconstruct and sample.

    Args:
        uri: a snapshot, a version in a registry, or a registered model (its champion is loaded);
            ``s3://bucket/…``, ``file:///…`` or a path.
        device: where to put it, such as ``"cuda"``.

    Raises:
        dcvae.errors.UserError: there is no model, its bytes are not those that were saved, or it
            was written by a later version.
    """
    from dcvae.registry import resolve
    from dcvae.snapshot import load_snapshot
    from dcvae.storage import open_storage

    return load_snapshot(open_storage(resolve(uri)), device)
