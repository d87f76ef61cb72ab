"""Where images come from. :func:`open_source` finds the right class for a text such as
``sklearn:digits``, ``torchvision:CIFAR10``, a folder, a zip file or an ``s3://`` prefix."""

from dcvae.data.sources.base import Item, Source
from dcvae.data.sources.opener import open_source

__all__ = ["Item", "Source", "open_source"]
