"""From the text that a user gives to the source it means."""

from pathlib import Path

from dcvae.errors import UserError
from dcvae.sharding.sources.arrays import Digits, Idx
from dcvae.sharding.sources.base import Source
from dcvae.sharding.sources.files import Bucket, Folder, Zip
from dcvae.storage import open_storage, split_uri

TEST_FRACTION = 0.1


def open_source(uri: str, test: float = TEST_FRACTION) -> Source:
    """Open a source of images.

    Args:
        uri: ``sklearn:digits``; ``torchvision:CIFAR10``, ``:STL10``, ``:CelebA``,
            ``:LSUN/bedroom``, ``:MNIST``, ``:FashionMNIST``; ``idx:FOLDER``; a folder; a zip file
            (also on S3); an ``s3://`` prefix.
        test: fraction or number of images to hold out where the source has no test split.

    Raises:
        UserError: it means nothing, or is not there.
    """
    if uri == "sklearn:digits":
        return Digits(uri)
    kind, _, rest = uri.partition(":")
    if kind == "torchvision":
        from dcvae.sharding.sources.published import open_published  # imports torch

        return open_published(uri, rest)
    if kind == "idx":
        return Idx(uri, _existing(Path(rest).expanduser()))
    if kind == "sklearn":
        raise UserError(f"{uri} is no known source: sklearn:digits is the only one of its kind")
    scheme, _, path = split_uri(uri)
    if path.lower().endswith(".zip"):
        root, _, key = uri.rstrip("/").rpartition("/")
        zip_file = Zip(uri, open_storage(root or "."), key, test)
        zip_file._open()
        return zip_file
    if scheme == "s3":
        return Bucket(uri, test)
    if scheme != "file":
        raise UserError(f"{uri} is no known source: give a folder, a zip file or an s3:// prefix")
    return Folder(uri, _existing(Path(path)), test)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        what = "is a file, neither a folder nor a zip" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: give a folder of images, a zip file or an s3:// prefix")
    return folder
