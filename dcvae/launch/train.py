"""One training run, from a checked configuration to the URI of its final snapshot."""

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from dcvae.config import Config, apply_settings
from dcvae.environment import METRICS_PORT
from dcvae.errors import UserError
from dcvae.launch.lease import leased
from dcvae.launch.local import LocalRanks
from dcvae.launch.starter import Starter
from dcvae.launch.trainjob import cluster_ranks
from dcvae.messages import Progress
from dcvae.run_folder import LOGS, RunFolder, final_snapshot
from dcvae.storage import join, open_storage

if TYPE_CHECKING:
    from dcvae.shards.manifest import Manifest

LAST_PORT = 65535
log = logging.getLogger(__name__)


def default_ranks() -> int:
    """One rank per visible GPU, and at least one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return max(1, len([device for device in visible.split(",") if device.strip()]))
    return max(1, len(list(Path("/dev").glob("nvidia[0-9]*"))))


def train(
    config: Config,
    data: str,
    out: str,
    nproc: int | None = None,
    *,
    ranks: Starter | None = None,
    show: Callable[[Progress], None] = lambda progress: None,
) -> str:
    """Train until the schedule ends and return the URI of the final snapshot.

    The same call again resumes at the latest checkpoint; a complete run is not repeated.

    Args:
        data: the shard set (the folder of its manifest.json).
        out: the run folder.
        nproc: total number of ranks; one per GPU of this machine by default.
        ranks: how to start them; by default as a TrainJob if the environment names a training
            runtime (see dcvae.launch.trainjob), otherwise on this machine.
        show: called with rank 0's progress, at most every few seconds, and at the end.

    Raises:
        UserError: the configuration, the data and the ranks do not fit together, or ``out`` holds
            a different run, or another training is working on it. Nothing was started then.
        RankError: a rank failed; the same call resumes from its last checkpoint.
    """
    nproc = default_ranks() if nproc is None else nproc
    ranks = ranks or cluster_ranks(out, nproc) or LocalRanks(nproc, keep=join(out, LOGS))
    manifest = check(config, data, ranks.nproc, out)
    snapshot = final_snapshot(out, config, manifest)
    if snapshot is not None:
        return snapshot
    measured = _measured(config)
    if isinstance(ranks, LocalRanks):
        _check_ports(measured.training.metrics_port, ranks.nproc)
    described = ["--config", measured.model_dump_json(), "--data", data, "--out", out]
    # A TrainJob is named by its run folder: a second one is adopted, not started.
    held = leased(open_storage(out)) if isinstance(ranks, LocalRanks) else nullcontext()
    with held:
        snapshot = final_snapshot(out, config, manifest)  # its last holder may have finished it
        if snapshot is None:
            RunFolder(open_storage(out), config, data).begin()
            told = _Told(show)
            ranks.run(["dcvae.training", *described], told)
            snapshot = final_snapshot(out, config, manifest)
            if snapshot:
                told.end(config.training.total_images)
    if snapshot is None:
        raise RuntimeError(f"the ranks succeeded but {join(out, 'result.json')} is missing")
    return snapshot


class _Told:
    """Passes on what rank 0 says, and the end of the schedule though its last line be lost.

    Torchrun's tail of a rank's output gives up at the end of the file as soon as the rank is gone,
    and cuts a line in two that it sees half written.
    """

    def __init__(self, show: Callable[[Progress], None]) -> None:
        self._show, self._images = show, 0

    def __call__(self, progress: Progress) -> None:
        self._images = progress.images
        self._show(progress)

    def end(self, total: int) -> None:
        """The run is whole."""
        if self._images < total:
            self._show(Progress(total, total, seconds_left=0))


def check(
    config: Config, data: str, nproc: int | None = None, out: str | None = None
) -> "Manifest":
    """Return the manifest of ``data`` if ``nproc`` ranks can train ``config`` on it.

    A run that ``out`` already holds keeps to the version of ``data`` that it began with.

    Raises:
        UserError: they cannot, or there is no shard set.
    """
    from dcvae.run_folder import manifest_for
    from dcvae.shards.manifest import load_manifest

    nproc = default_ranks() if nproc is None else nproc
    if nproc < 1:
        raise UserError(f"{nproc} ranks cannot train; give --nproc 1 or more")
    config.check_ranks(nproc)
    shards = open_storage(data)
    manifest = latest = load_manifest(shards)
    if out:
        manifest = manifest_for(open_storage(out), shards, latest)
    if manifest.fingerprint != latest.fingerprint:
        log.warning(
            "%s has grown since the run in %s began: the run keeps to version %s of it; to train "
            "on the new images too, choose another folder with --out",
            *(data, out, manifest.fingerprint[:8]),
        )
    missing = {phase.resolution for phase in config.training.phases} - set(manifest.resolutions)
    if missing:
        raise UserError(
            f"{data} has the resolutions {_list(manifest.resolutions)} but the training needs "
            f"{_list(missing)} too; shard the images again with --resolution "
            f"{config.model.resolution}"
        )
    if manifest.channels != config.model.channels:
        raise UserError(
            f"the images of {data} have {manifest.channels} channels and the model has "
            f"{config.model.channels}; set model.channels={manifest.channels}"
        )
    return manifest


def _measured(config: Config) -> Config:
    """``config`` with the environment's metrics port, unless it has its own."""
    port = os.environ.get(METRICS_PORT)
    if not port or config.training.metrics_port is not None:
        return config
    return apply_settings(config, [f"training.metrics_port={port}"])


def _check_ports(first: int | None, nproc: int) -> None:
    """Refuse metrics ports of this machine's ranks, counted up from ``first``, beyond the last."""
    if first and first + nproc - 1 > LAST_PORT:
        raise UserError(
            f"{nproc} ranks here need the ports {first} to {first + nproc - 1}, and ports end at "
            f"{LAST_PORT}: set a smaller training.metrics_port, or 0 for any free ones"
        )


def _list(numbers: "set[int] | list[int]") -> str:
    return ", ".join(str(number) for number in sorted(numbers))
