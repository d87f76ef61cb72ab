"""The networks: encoder, decoder and dual encoder."""

from dcvae.models.autoencoder import DCVAE, Generated
from dcvae.models.backbones import build_dual_encoder
from dcvae.models.dual_encoder import DualEncoder

__all__ = ["DCVAE", "DualEncoder", "Generated", "build_dual_encoder"]
