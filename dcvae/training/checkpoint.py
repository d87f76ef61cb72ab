"""Checkpoints: everything a run needs to resume, with any number of ranks and any ZeRO stage.

::

    <run>/checkpoints/<images, 12 digits>/
        networks.safetensors      weights, averages, keys, queues
        optimizers.safetensors    Adam's moments, by parameter
        state.json                position of the schedule
        COMMIT.json               size and sha256 of each; written last

A folder without its commit marker does not exist. Random numbers and the order of images are
functions of (seed, images), so no random state needs keeping. Nothing is unpickled.
"""

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from dcvae.errors import UserError
from dcvae.storage import Storage, read_versioned
from dcvae.training import ranks
from dcvae.training.engines import Engine
from dcvae.training.moments import restore_moments, saved_moments
from dcvae.updates import Networks

MARKER = "COMMIT.json"
FORMAT_VERSION = 1
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint, read and verified."""

    uri: str
    state: dict[str, Any]
    """JSON: ``images`` and what else the loop has saved."""
    networks: dict[str, Tensor]
    optimizers: dict[str, Tensor]


def save_checkpoint(
    folder: Storage, networks: Networks, engines: dict[str, Engine], state: dict[str, Any]
) -> int:
    """Write a checkpoint of all ranks; all ranks must call it. Returns its bytes on rank 0.

    ``state`` is JSON and holds ``images``. A half-written earlier attempt is overwritten.
    """
    moments = {
        f"{engine_name}/{name}": value
        for engine_name, engine in engines.items()
        for name, value in saved_moments(engine)
    }
    if ranks.rank() != 0:
        return 0
    weights = {name: t.detach().cpu().contiguous() for name, t in networks.state_dict().items()}
    files = {
        "networks.safetensors": save(weights),
        "optimizers.safetensors": save(moments),
        "state.json": json.dumps(state).encode(),
    }
    place = folder.child(f"{state['images']:012d}")
    for name, data in files.items():
        place.write(name, data)
    marker = {
        "format_version": FORMAT_VERSION,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }
    place.write(MARKER, json.dumps(marker, indent=1).encode())
    return sum(map(len, files.values()))


def restore_networks(checkpoint: Checkpoint, networks: Networks) -> None:
    """Load the checkpoint's tensors into ``networks``, before engines are built on them.

    Earlier versions saved D, or its momentum copy, for methods that do not use it: these are
    left out.

    Raises:
        UserError: its tensors are not those of ``networks``, by name or shape; nothing is changed.
    """
    expected = networks.state_dict()
    unused = {name for name in ("dual_encoder", "key_encoder") if getattr(networks, name) is None}
    held = {n: t for n, t in checkpoint.networks.items() if n.partition(".")[0] not in unused}
    differing = {n for n in expected.keys() & held.keys() if expected[n].shape != held[n].shape}
    for name in sorted((expected.keys() ^ held.keys()) | differing)[:1]:
        raise UserError(
            f"{checkpoint.uri} holds other networks than this version of dcvae builds (the first "
            f"difference is at {name}); go on with the version that the run began with, or begin "
            "again in another folder"
        )
    networks.load_state_dict(held)


def restore(checkpoint: Checkpoint, engines: dict[str, Engine]) -> None:
    """Restore the engines' moments."""
    for engine_name, engine in engines.items():
        prefix = f"{engine_name}/"
        restore_moments(
            engine,
            {
                k.removeprefix(prefix): v
                for k, v in checkpoint.optimizers.items()
                if k.startswith(prefix)
            },
        )


def committed(folder: Storage) -> list[int]:
    """Image counts of the committed checkpoints, ascending."""
    found = (re.fullmatch(rf"(\d{{12}})/{MARKER}", info.key) for info in folder.list())
    return sorted(int(match[1]) for match in found if match)


def latest_checkpoint(folder: Storage) -> Checkpoint | None:
    """The newest checkpoint whose bytes are those that were written; None if there is none.

    A damaged one is skipped for the one before it, with a warning. Raises UserError if all are
    damaged.
    """
    existing = committed(folder)
    for images in reversed(existing):
        try:
            return _read(folder.child(f"{images:012d}"))
        except UserError as error:
            log.warning("%s; the checkpoint before it is used", error)
    if existing:
        raise UserError(
            f"every checkpoint in {folder.uri} is damaged; restore one, or use another folder"
        )
    return None


def _read(place: Storage) -> Checkpoint:
    marker = read_versioned(place, MARKER, FORMAT_VERSION)
    files = {}
    for name, expected in marker["files"].items():
        data = place.read(name)
        if hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise UserError(f"{place.uri}/{name} is damaged: its sha256 is not the one committed")
        files[name] = data
    return Checkpoint(
        place.uri,
        json.loads(files["state.json"]),
        load(files["networks.safetensors"]),
        load(files["optimizers.safetensors"]),
    )


def prune(folder: Storage, keep_last: int, keep_always: set[int]) -> None:
    """Delete all checkpoints except the last ones and those at ``keep_always``; rank 0 only."""
    for images in committed(folder)[:-keep_last]:
        if images not in keep_always:
            place = folder.child(f"{images:012d}")
            place.delete(MARKER)  # first: without it, the checkpoint does not exist
            for info in list(place.list()):
                place.delete(info.key)
