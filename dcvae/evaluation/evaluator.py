"""The evaluation of a snapshot, or of the best of a run."""

import time
from typing import TYPE_CHECKING

from dcvae.config import parse_config
from dcvae.errors import UserError
from dcvae.evaluation.ahead import check_measurable, check_selection, not_comparable
from dcvae.evaluation.protocol import Protocol, read_protocol
from dcvae.evaluation.results import REPORT, Evaluation
from dcvae.presets import SELECT_BY
from dcvae.progress import OnProgress
from dcvae.shards.manifest import load_manifest
from dcvae.snapshot import describe_snapshot
from dcvae.storage import open_storage

if TYPE_CHECKING:
    from dcvae.evaluation.job import Present


def evaluate(
    snapshot: str,
    data: str,
    out: str,
    reference: str | None = None,
    present: "Present | None" = None,
    protocol: str | Protocol = "",
    last: int = 1,
    select_by: str = SELECT_BY,
    weights: str | None = None,
    perceptual_weights: str | None = None,
    *,
    progress: OnProgress | None = None,
    batch_size: int = 64,
    device: str | None = None,
) -> Evaluation:
    """Measures a snapshot, or the best of a run's last ones, and writes ``evaluation.json``.

    When ``out`` already holds the result of the same weights, data and protocol, it is returned as
    it is. What was stopped goes on where it was.

    Args:
        snapshot: URI of a snapshot folder, or of a run.
        data: URI of the shard set.
        reference: URI of a folder that keeps what follows from real images between evaluations; by
            default it is made anew.
        present: writes what people look at into ``out`` (see :mod:`dcvae.report`), before
            ``evaluation.json`` is written.
        protocol: a name with changes (see :func:`~dcvae.evaluation.protocol.read_protocol`), or
            one that was read; by default that of the snapshot's preset.
        last: how many of the run's last snapshots, up to this one, are compared first; only the
            best is measured in full. Where the images do not allow it, the last one is, and the
            result says why.
        select_by: by what they are compared, one of ``dcvae.evaluation.names.SELECTABLE_BY``.
        weights: path or URI of Inception's weights: with them, it is the extractor.
        perceptual_weights: path or URI of the weights of the protocol's perceptual network.
        device: by default a GPU, if there is one.

    Raises:
        UserError: the snapshot, the data or the weights are missing, damaged or do not fit.
    """
    from dcvae.evaluation.best import candidates
    from dcvae.evaluation.job import Job

    began = time.monotonic()
    check_selection(last, select_by)
    device = _device(device)
    places = candidates(snapshot, last)
    descriptions = [describe_snapshot(place) for place in places]
    manifest = load_manifest(open_storage(data))
    config = parse_config(descriptions[-1]["config"])
    if isinstance(protocol, str):
        protocol = read_protocol(protocol, config, weights)
    check_measurable(protocol, manifest, config.model.channels)
    unable: dict[str, str] = {}
    if len(places) > 1 and (why := not_comparable(select_by, protocol, manifest)):
        unable = {f"the best of the last {len(places)} snapshots by {select_by}": why}
        places, descriptions = places[-1:], descriptions[-1:]
    job = Job(
        out=open_storage(out),
        data=data,
        manifest=manifest,
        resolution=int(descriptions[-1]["resolution"]),
        protocol=protocol,
        reference=reference,
        progress=progress,
        weights=weights,
        perceptual_weights=perceptual_weights,
        batch_size=batch_size,
        device=device,
    )
    stored = job.stored(descriptions, select_by, [REPORT] if present else [])
    return stored or job.run(places, descriptions, select_by, unable, present, began)


def protocol_for(snapshot: str, text: str, weights: str | None = None) -> Protocol:
    """The protocol that ``text`` names for the model at this URI of a snapshot or a run.

    Raises:
        UserError: as :func:`~dcvae.evaluation.protocol.read_protocol`, or there is no snapshot.
    """
    from dcvae.evaluation.best import candidates

    config = describe_snapshot(candidates(snapshot, 1)[-1])["config"]
    return read_protocol(text, parse_config(config), weights)


def _device(name: str | None) -> str:
    """The device's name, once it is known to be there.

    Raises:
        UserError: there is no such device.
    """
    import torch

    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, ValueError, NotImplementedError):
        raise UserError(
            f"there is no device {name!r} on this machine; leave it out, or use cpu"
            + (" or cuda" if torch.cuda.is_available() else "")
        ) from None
    return name
