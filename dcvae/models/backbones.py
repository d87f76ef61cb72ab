"""Which networks a configuration asks for."""

from dcvae.config import ModelConfig
from dcvae.models import autogan, progan
from dcvae.models.dual_encoder import DualEncoder


def build_encoder(config: ModelConfig) -> progan.Encoder | autogan.Encoder:
    """q_φ(z|x): maps (images [N, C, r, r], r, fade) to (μ, log σ²), each [N, latent_dim]."""
    if config.backbone == "autogan":
        return autogan.Encoder(config)
    return progan.Encoder(config)


def build_decoder(config: ModelConfig) -> progan.Decoder | autogan.Decoder:
    """f_θ: maps (latents [N, latent_dim], r, fade) to images [N, C, r, r]."""
    if config.backbone == "autogan":
        return autogan.Decoder(config)
    return progan.Decoder(config)


def build_dual_encoder(config: ModelConfig) -> DualEncoder:
    """D."""
    if config.backbone == "autogan":
        return autogan.AutoganDualEncoder(config)
    return progan.ProganDualEncoder(config)
