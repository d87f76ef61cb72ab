"""Local files and folders, with a clear message if the operating system refuses."""

from pathlib import Path

from dcvae.errors import UserError
from dcvae.storage import split_uri


def local_path(path: str) -> Path:
    """The local path that a user means.

    Raises:
        UserError: it is not a local path.
    """
    scheme, _, local = split_uri(path)
    if scheme != "file":
        raise UserError(f"{path} is no local folder: copy the files here first")
    return Path(local)


def is_folder(path: Path) -> bool:
    """Whether the folder exists.

    Raises:
        UserError: that cannot be determined, for instance below a private folder.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise UserError(f"cannot look at {path}: {error.strerror}") from error


def size_of(path: Path) -> int:
    """Size in bytes of a file that must exist.

    Raises:
        UserError: it does not.
    """
    try:
        if path.is_file():
            return path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot look at {path}: {error.strerror}") from error
    raise UserError(f"there is no {path}: unpack the published files again")


def existing(
    folder: Path, instead: str = "give a folder of images, a zip file or an s3:// prefix"
) -> Path:
    """``folder``, if it exists. ``instead`` says what to do where it does not.

    Raises:
        UserError: it does not.
    """
    if not is_folder(folder):
        what = "is a file, neither a folder nor a zip" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: {instead}")
    return folder
