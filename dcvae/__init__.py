"""DC-VAE: train, evaluate and use dual contradistinctive generative autoencoders."""

from importlib.metadata import version

__version__ = version("dcvae")
