"""Where a pipeline's steps put things below one storage root.

Every place is named by what it holds, so a step that runs again finds what is already done, and
two different runs never share a place.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dcvae.config import Config
from dcvae.errors import UserError
from dcvae.run_folder import split_snapshot
from dcvae.storage import join

if TYPE_CHECKING:
    from dcvae.shards.manifest import Manifest


def data_uri(root: str, name: str, resolution: int) -> str:
    """The shard set called ``name``, up to ``resolution`` pixels.

    Raises:
        UserError: ``name`` cannot be part of a key.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UserError(f"the name {name!r} must be made of letters, digits, '-', '_' and '.'")
    return join(root, "data", f"{name}-{resolution}")


def run_uri(root: str, config: Config, manifest: "Manifest") -> str:
    """The run folder of a training of ``config`` on this data."""
    name = f"{config.preset}-{manifest.fingerprint[:8]}-{config.digest()[:8]}"
    return join(root, "runs", name)


def evaluation_uri(root: str, snapshot: str, protocol: str, last: int, select_by: str) -> str:
    """The evaluation of the best of a run's last snapshots, of which ``snapshot`` is the latest.

    Args:
        snapshot: ``…/<run>/snapshots/<images>``.
        protocol: its slug: name, version and digest.
        last: how many snapshots to choose from; 1: only this one.
        select_by: the measure that decides which is best.
    """
    run, images = split_snapshot(snapshot)
    of = images if last == 1 else f"{images}-best-of-{last}-by-{select_by}"
    return join(root, "evaluations", f"{run.rpartition('/')[2]}-{of}-{protocol}")


def comparison_uri(root: str, name: str, evaluations: Sequence[str]) -> str:
    """The comparison ``name`` of these evaluations, in this order."""
    digest = hashlib.sha256("\n".join(evaluations).encode()).hexdigest()
    return join(root, "comparisons", f"{name}-{digest[:8]}")


def reference_uri(root: str) -> str:
    """Statistics of real images, shared by all models measured against them."""
    return join(root, "reference")


def registry_uri(root: str) -> str:
    """The registry of all models."""
    return join(root, "models")
