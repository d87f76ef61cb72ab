"""What all steps have in common."""

from functools import partial
from importlib.metadata import version

from kfp import dsl

IMAGE = f"ghcr.io/dcvae/dcvae:{version('dcvae')}"
"""The image that every step runs in, pinned to this version; it contains dcvae and kfp."""

step = partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
"""Makes a step of a function. Only the function's source is shipped, so its body imports dcvae."""
