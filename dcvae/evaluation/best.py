"""Finds the best of a run's last snapshots, measuring each cheaply by one metric."""

import math
from collections.abc import Callable
from typing import Any

from dcvae.errors import UserError
from dcvae.evaluation.distances import frechet_distance, kernel_distance
from dcvae.evaluation.measured_sets import DivergedError, MeasuredSets
from dcvae.evaluation.results import Candidate, Selection
from dcvae.run_folder import snapshot_counts, snapshot_place, split_snapshot
from dcvae.snapshot import DamagedError, describe_snapshot
from dcvae.storage import NotFound, Storage, open_storage, to_json

SAMPLES = 10_000
"""Most images that each snapshot is measured on."""
FOLDER = "candidates"


def candidates(snapshot: str, last: int) -> list[Storage]:
    """The last snapshots of a run that have the size of the final one, oldest first.

    Args:
        snapshot: URI of a run, or of a snapshot; the latter stands for its run up to it, or for
            itself if it is in no run.
        last: how many at most, from 1.

    Raises:
        UserError: there is no snapshot.
    """
    given = open_storage(snapshot)
    uri, name = split_snapshot(snapshot)
    run = open_storage(uri) if uri else given
    counts = snapshot_counts(run)
    if uri and name.isdecimal():
        counts = [count for count in counts if count <= int(name)]
    if not counts or (uri and last == 1):
        return [given]
    final = _size(snapshot_place(run, counts[-1]))
    found: list[Storage] = []
    for count in reversed(counts[-last:]):
        place = snapshot_place(run, count)
        if _size(place) != final:
            break
        found.append(place)
    return found[::-1]


def choose(
    snapshots: list[tuple[Storage, dict[str, Any]]],
    by: str,
    sets_of: Callable[[Storage, dict[str, Any]], MeasuredSets],
    out: Storage,
    decided_by: str,
) -> Selection:
    """Measure each snapshot and return which is the best.

    Args:
        snapshots: each with its description.
        sets_of: returns what measures a snapshot, given it and its description.
        out: the evaluation's folder, where figures are kept, so that none is measured twice.
        decided_by: digest of everything besides the weights that determines the figures.

    Raises:
        UserError: none of them can be measured.
    """
    found = [_measured(*snapshot, by, sets_of, out, decided_by) for snapshot in snapshots]
    able = [each for each in found if each.value is not None]
    if not able:
        raise UserError(
            f"none of the last {len(found)} snapshots can be measured by {by}: {found[-1].problem}"
        )
    best = min(able, key=lambda each: (each.value, -each.images))
    return Selection(by=by, samples=SAMPLES, candidates=found, chosen=best.images)


def distance(sets: MeasuredSets, by: str) -> float:
    """A metric on at most :data:`SAMPLES` images.

    Raises:
        UserError: the data does not allow it, or cannot be read.
        DivergedError: the model makes no valid images.
    """
    sets.check_model()
    measure, _, kind = by.partition("_")
    if kind == "sampling":
        ours = sets.samples(SAMPLES)
    else:
        reconstructed = sets.reconstructions(SAMPLES)
        if by == "pixel_distance":
            return reconstructed.pixel.value
        ours = reconstructed.features
    reference = sets.reference()
    if measure == "kernel":
        return kernel_distance(ours.kept, reference.kept, sets.protocol.seed)
    return frechet_distance(reference.statistics, ours.statistics)


def _measured(
    place: Storage,
    description: dict[str, Any],
    by: str,
    sets_of: Callable[[Storage, dict[str, Any]], MeasuredSets],
    out: Storage,
    decided_by: str,
) -> Candidate:
    images, weights = int(description["images"]), str(description["weights_sha256"])
    key = f"{FOLDER}/{by}-{images:012d}-{weights[:8]}-{decided_by[:16]}.json"
    try:
        return Candidate.model_validate(out.read_json(key))
    except (NotFound, ValueError):
        pass
    try:
        value, problem = distance(sets_of(place, description), by), None
    except (DivergedError, DamagedError) as reason:  # and not a storage that does not answer
        value, problem = math.nan, str(reason)
    known = math.isfinite(value)
    candidate = Candidate(
        images=images,
        weights_sha256=weights,
        value=value if known else None,
        problem=problem if problem or known else "it is not a finite number",
    )
    out.write(key, to_json(candidate.model_dump(mode="json")))
    return candidate


def _size(place: Storage) -> tuple[int, float]:
    """Its resolution, and how far that is faded in."""
    description = describe_snapshot(place)
    return int(description["resolution"]), float(description["fade"])
