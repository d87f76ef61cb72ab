"""Using a trained model: images in all usual forms, latents, new images, export."""

from dcvae.inference.images import Images, to_array, to_pil
from dcvae.inference.model import Model, Posterior

__all__ = ["Images", "Model", "Posterior", "to_array", "to_pil"]
