"""Which version of a data set a run is trained on: the one it began with, though the set grow."""

import logging

from dcvae.data.manifest import Manifest, load_manifest
from dcvae.errors import UserError
from dcvae.storage import NotFound, Storage

log = logging.getLogger(__name__)


def manifest_for(run: Storage, data: Storage) -> Manifest:
    """The manifest with which the run in the folder ``run`` began; the latest for a new run.

    Logs a line when ``data`` has grown since. Raises UserError when the run was begun on images
    that no version of ``data`` has.
    """
    latest = load_manifest(data)
    try:
        began: str = run.read_json("config.json")["dataset"]["fingerprint"]
    except NotFound:
        return latest
    if began == latest.fingerprint:
        return latest
    try:
        manifest = load_manifest(data, began)
    except UserError:
        raise UserError(
            f"{run.uri} holds a run of another data set; choose another folder with --out, or "
            "delete this one"
        ) from None
    log.warning(
        "%s has grown since the run in %s began: the run keeps to version %s of it; to train on "
        "the new images too, choose another folder with --out",
        *(data.uri, run.uri, began[:8]),
    )
    return manifest
