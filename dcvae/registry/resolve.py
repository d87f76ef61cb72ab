"""Finds the folder of the weights that a user names."""

import hashlib

from dcvae.errors import UserError
from dcvae.registry.catalogues import CHAMPION, open_catalogue
from dcvae.registry.champion import STATE, read_state
from dcvae.registry.versions import read_version
from dcvae.snapshot import CONFIG, WEIGHTS
from dcvae.storage import Storage, join, open_storage


def resolve(uri: str, registry: str | None = None) -> str:
    """URI of the folder with ``model.safetensors`` that ``uri`` stands for.

    ==========================================  =================================================
    ``<run>/snapshots/<images>``                itself
    ``<registry>/<name>``                       the champion's content
    ``<registry>/<name>@champion``              the same
    ``<registry>/<name>@<alias>``               the version that has this alias in ``registry``
    ``<registry>/<name>@<number>``              that version's content
    ``<registry>/<name>/versions/<number>``     the same
    ==========================================  =================================================

    Aliases are looked up in ``registry`` (``s3``, ``kubeflow`` or ``mlflow``), by default the one
    that ``DCVAE_REGISTRY`` names; ``s3`` is the bucket itself. A registered configuration whose
    bytes differ from its record is refused; it contains the checksum of the weights, which is
    verified when they are loaded.

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
    model, alias = split_alias(uri)
    if alias and alias.isdecimal():
        return _content(open_storage(model), int(alias))
    storage = open_storage(model)
    if storage.stat(STATE):
        return _content(storage, _number(storage, alias or CHAMPION, registry))
    raise UserError(
        f"there is no model at {model}: give a snapshot folder (with {WEIGHTS}), a registered "
        "model, or one of its versions (…@3)"
    )


def split_alias(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/models/digits@champion`` into the model's URI and ``champion`` or ""."""
    place, at, alias = uri.rstrip("/").rpartition("@")
    return (place, alias) if at and alias and "/" not in alias else (uri, "")


def _number(model: Storage, alias: str, registry: str | None) -> int:
    """The version that has an alias."""
    catalogue = open_catalogue(registry)
    if catalogue:
        found = catalogue.find(model.uri, model.uri.rpartition("/")[2], alias)
        if found is None:
            raise UserError(
                f"{catalogue.title} at {catalogue.address} has no version of {model.uri} with the "
                f"alias {alias}; load one by its number, {model.uri}@1"
            )
        return found
    if alias != CHAMPION:
        raise UserError(
            f"{model.uri}@{alias} names no version: the registry in a bucket knows @{CHAMPION} and "
            "numbers, such as @3; for other aliases set DCVAE_REGISTRY to the registry that has "
            "them"
        )
    version = read_state(model).version
    if version is None:
        raise UserError(
            f"{model.uri} has no champion: no version has passed its gate; load one by its number, "
            f"{join(model.uri, 'versions', '1')}, or promote one"
        )
    return version


def _content(model: Storage, number: int) -> str:
    version = read_version(model, number)
    folder = model.child(*version.folder.split("/"))
    if hashlib.sha256(folder.read(CONFIG)).hexdigest() != version.config_sha256:
        raise UserError(
            f"{folder.uri}/{CONFIG} is not what was registered as version {number}: its bytes were "
            "changed; register the snapshot again into a new registry"
        )
    return folder.uri
