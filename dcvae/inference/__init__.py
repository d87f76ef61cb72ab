"""A trained model in use: images in any usual form, latents, new images, an export."""

from dcvae.inference.images import Images, to_array, to_pil
from dcvae.inference.model import Model, Posterior

__all__ = ["Images", "Model", "Posterior", "to_array", "to_pil"]
