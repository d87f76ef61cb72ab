"""Sources of images. :func:`open_source` finds the right class for a text such as
``sklearn:digits``, ``torchvision:CIFAR10``, a folder, a zip file or an ``s3://`` prefix."""

from dcvae.sharding.sources.base import Item, Source
from dcvae.sharding.sources.opener import open_source

__all__ = ["Item", "Source", "open_source"]
