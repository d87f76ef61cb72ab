"""From what a user names to the folder that has the weights."""

import hashlib

from dcvae.errors import UserError
from dcvae.registry.champion import CHAMPION, read_state
from dcvae.registry.versions import read_version
from dcvae.snapshot import CONFIG, WEIGHTS
from dcvae.storage import Storage, join, open_storage


def resolve(uri: str) -> str:
    """URI of the folder with ``model.safetensors`` that ``uri`` stands for.

    ==========================================  ==============================
    ``<run>/snapshots/<images>``                itself
    ``<registry>/<name>``                       the champion's content
    ``<registry>/<name>/versions/<number>``     that version's content
    ==========================================  ==============================

    A registered configuration whose bytes are not those of its record is refused; it carries the
    checksum of the weights, which is verified when they are loaded.

    Raises:
        UserError: nothing that can be loaded is there, or its bytes were changed.
    """
    place, _, last = uri.rstrip("/").rpartition("/")
    parent, _, folder = place.rpartition("/")
    if folder == "versions" and last.isdecimal() and parent:
        return _content(open_storage(parent), int(last))
    storage = open_storage(uri)
    if storage.stat(WEIGHTS):
        return uri
    if storage.stat(CHAMPION):
        version = read_state(storage).version
        if version is None:
            raise UserError(
                f"{uri} has no champion: no version has passed its gate; load one by its number, "
                f"{join(uri, 'versions', '1')}, or promote one"
            )
        return _content(storage, version)
    raise UserError(
        f"there is no model at {uri}: give a snapshot folder (with {WEIGHTS}), a registered model, "
        "or one of its versions (…/versions/3)"
    )


def _content(model: Storage, number: int) -> str:
    version = read_version(model, number)
    folder = model.child(*version.folder.split("/"))
    if hashlib.sha256(folder.read(CONFIG)).hexdigest() != version.config_sha256:
        raise UserError(
            f"{folder.uri}/{CONFIG} is not what was registered as version {number}: its bytes were "
            "changed; register the snapshot again into a new registry"
        )
    return folder.uri
