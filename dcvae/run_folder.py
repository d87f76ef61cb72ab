"""The run folder: what a run leaves behind, and the only module that knows its layout.

::

    <run>/config.json            the resolved configuration and the data's version, written first
    <run>/checkpoints/…          see dcvae.training.checkpoint
    <run>/snapshots/<images>/    see dcvae.snapshot
    <run>/samples/<images>.png, <run>/reconstructions/<images>.png
    <run>/metrics.jsonl          one line per log interval
    <run>/tensorboard/…          the same for TensorBoard, if that is installed; see dcvae.curves
    <run>/profiles/…             see dcvae.training.profiling
    <run>/broken.json            what became NaN or infinite; gone once the run goes on
    <run>/running.json           who is training it now; see dcvae.launch.lease
    <run>/logs/<when>/           what the ranks printed before one failed; see dcvae.launch.local
    <run>/result.json            written last: the run is complete

Image counts have 12 digits, so that names sort as numbers do.
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from dcvae.config import REMEDIES, Config, parse_config
from dcvae.curves import Curves, available
from dcvae.errors import UserError
from dcvae.shards.manifest import Manifest, load_manifest
from dcvae.storage import Conflict, NotFound, Storage, join, open_storage, timestamp, to_json

CONFIG, METRICS, RESULT = "config.json", "metrics.jsonl", "result.json"
BROKEN, LEASE, LOGS, CURVES = "broken.json", "running.json", "logs", "tensorboard"
SNAPSHOTS, SAMPLES, RECONSTRUCTIONS = "snapshots", "samples", "reconstructions"
log = logging.getLogger(__name__)


class RunFolder:
    """Writes the run's files; used only by rank 0, except for :meth:`begin`."""

    def __init__(self, storage: Storage, config: Config, data: str) -> None:
        """``data`` is the URI of the shard set. Raises UserError if there is none."""
        self.storage, self.config, self.data = storage, config, data
        self.shards = open_storage(data)
        self.manifest = load_manifest(self.shards)
        """What the run is trained on; see :meth:`begin`."""
        self.checkpoints, self.profiles = storage.child("checkpoints"), storage.child("profiles")
        self.metrics: list[str] = []
        self.curves = Curves(storage.child(CURVES)) if available() else None

    def begin(self) -> None:
        """Save config.json, or make sure that the folder already holds this very run.

        A run that began with an earlier version of the data set keeps to that version. One that a
        NaN has broken may go on with other values of the settings marked ``REMEDY``; config.json
        then records what was changed, and when.

        Raises UserError if the folder holds a run of another configuration or data set.
        """
        latest = self.manifest
        while True:
            present = self.storage.stat(CONFIG)
            try:
                if present is None:
                    self._save_config({}, if_absent=True)
                    return
                found = _saved(self.storage)
                self.manifest = manifest_for(self.storage, self.shards, latest)
                if parse_config(found["config"]).digest() == self.config.digest():
                    return
                self._save_config(self._remedied(found), if_match=present.etag)
                self.storage.delete(BROKEN)
                return
            except (Conflict, NotFound):
                continue  # another rank was faster: try again

    def _save_config(self, also: dict[str, Any], **condition: Any) -> None:
        content = {"config": self.config.model_dump(mode="json"), "dataset": self.dataset(), **also}
        self.storage.write(CONFIG, json.dumps(content, indent=1).encode(), **condition)

    def _remedied(self, found: dict[str, Any]) -> dict[str, Any]:
        """What config.json records of the change, if the change is allowed.

        Raises UserError if the run is not broken, or if other settings than remedies differ.
        """
        before = parse_config(found["config"])
        changed = self.config.differences(before)
        try:
            broken = self.storage.read_json(BROKEN)
        except NotFound:
            broken = None
            if self.storage.read_json(CONFIG) != found:
                raise Conflict("another rank has made the change") from None
        if broken is None or not set(changed) <= REMEDIES:
            raise UserError(
                f"{self.storage.uri} holds a run of another configuration ("
                f"{', '.join(changed) or 'preset'}); choose another folder with --out, or delete "
                "this one"
            )
        change = {"because": broken, "settings": changed, "at": timestamp()}
        return {"changes": [*found.get("changes", []), change]}

    def break_off(self, what: str, checkpoint: int | None) -> str:
        """Record that ``what`` has ended the run; return how to go on, as part of a sentence.

        ``checkpoint`` is the number of images of the last checkpoint, if there is one.
        """
        self.storage.write(BROKEN, to_json({"what": what, "checkpoint": checkpoint}))
        training = self.config.training
        from_where = (
            "begins again, as there is no checkpoint yet"
            if checkpoint is None
            else f"goes on from the checkpoint after {checkpoint:,} images; a pipeline with it "
            "begins again, as there each configuration has a run folder of its own"
        )
        return (
            f"the same command with --set training.learning_rate={training.learning_rate / 2:g}, "
            f"or with --set training.seed={training.seed + 1}, {from_where}"
        )

    def dataset(self) -> dict[str, str]:
        """What the run is trained on."""
        return {
            "uri": self.data,
            "name": self.manifest.name,
            "fingerprint": self.manifest.fingerprint,
        }

    def resume_metrics(self, images: int) -> None:
        """Keep the metrics of up to ``images`` images; the run will log later ones again."""
        kept = [line for line in read_metrics(self.storage) if line["images"] <= images]
        self.metrics = [json.dumps(line) + "\n" for line in kept]
        if self.curves:
            self.curves.resume(images, kept)

    def log(self, record: Mapping[str, float]) -> None:
        """Add one line of metrics, to be written by the next :meth:`write_metrics`."""
        rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in record.items()}
        self.metrics.append(json.dumps(rounded) + "\n")
        if self.curves:
            self.curves.add(rounded)

    def write_metrics(self) -> None:
        """Write metrics.jsonl and the curves with all lines so far."""
        self.storage.write(METRICS, "".join(self.metrics).encode())
        if self.curves:
            self.curves.write()

    def write_pictures(self, images: int, samples: bytes, reconstructions: bytes) -> None:
        """Write two PNG sheets of the model after ``images`` images."""
        self.storage.write(f"{SAMPLES}/{images:012d}.png", samples)
        self.storage.write(f"{RECONSTRUCTIONS}/{images:012d}.png", reconstructions)

    def finish(self, images: int, seconds: float) -> None:
        """Write result.json: from here on the run is complete."""
        result: dict[str, Any] = {
            "snapshot": join(SNAPSHOTS, f"{images:012d}"),
            "images": images,
            "seconds": round(seconds, 3),
            "config_digest": self.config.digest(),
            "dataset_fingerprint": self.manifest.fingerprint,
        }
        self.storage.write(RESULT, json.dumps(result, indent=1).encode())


def manifest_for(run: Storage, data: Storage, latest: Manifest) -> Manifest:
    """The manifest that the run in the folder ``run`` began with; ``latest`` for a new run.

    Raises UserError if the run began with images that no version of ``data`` has.
    """
    try:
        began: str = _saved(run)["dataset"]["fingerprint"]
    except NotFound:
        return latest
    if began == latest.fingerprint:
        return latest
    try:
        return load_manifest(data, began)
    except UserError:
        raise UserError(
            f"{run.uri} holds a run of another data set; choose another folder with --out, or "
            "delete this one"
        ) from None


def final_snapshot(out: str, config: Config, manifest: Manifest) -> str | None:
    """URI of the final snapshot of the run in ``out``; None while the run is not complete.

    Raises:
        UserError: the folder holds a complete run of another configuration or data set.
    """
    try:
        result = open_storage(out).read_json(RESULT)
    except NotFound:
        return None
    snapshot = str(result.get("snapshot")) if isinstance(result, dict) else ""
    if not re.fullmatch(rf"{SNAPSHOTS}/\d{{12}}", snapshot):
        raise UserError(
            f"{join(out, RESULT)} is damaged: delete it, and run the same command again"
        )
    same = (config.digest(), manifest.fingerprint)
    if (result.get("config_digest"), result.get("dataset_fingerprint")) != same:
        raise UserError(
            f"{out} holds a finished run of another configuration or data set; "
            "choose another folder with --out"
        )
    return join(out, snapshot)


def snapshot_place(run: Storage, images: int) -> Storage:
    """Where the snapshot after ``images`` images is."""
    return run.child(SNAPSHOTS, f"{images:012d}")


def snapshot_counts(run: Storage) -> list[int]:
    """Image counts of the run's snapshots, ascending."""
    return _counts(run, rf"{SNAPSHOTS}/(\d{{12}})/config\.json")


def is_run(uri: str) -> bool:
    """Whether ``uri`` is a run folder with snapshots."""
    return bool(snapshot_counts(open_storage(uri)))


def sheet_counts(run: Storage) -> list[int]:
    """Image counts of the run's sheets of samples, ascending."""
    return _counts(run, rf"{SAMPLES}/(\d{{12}})\.png")


def read_sheet(run: Storage, images: int) -> bytes:
    """The sheet of samples after ``images`` images, as PNG."""
    return run.read(f"{SAMPLES}/{images:012d}.png")


def read_metrics(run: Storage) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; empty if there is no such file.

    Damaged lines are left out, with a warning.
    """
    try:
        lines = run.read(METRICS).splitlines()
    except NotFound:
        return []
    found = [record for line in lines if (record := _record(line)) is not None]
    if len(found) < len(lines):
        log.warning(
            "%s has %d damaged lines, which are left out",
            *(join(run.uri, METRICS), len(lines) - len(found)),
        )
    return found


def _record(line: bytes) -> dict[str, Any] | None:
    """A line of metrics.jsonl, or None if it is damaged."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    numbers = isinstance(found, dict) and all(isinstance(v, int | float) for v in found.values())
    return found if numbers and isinstance(found.get("images"), int) else None


def _saved(run: Storage) -> dict[str, Any]:
    """A run's config.json.

    Raises:
        NotFound: there is no such file.
        UserError: the file is damaged.
    """
    found = run.read_json(CONFIG)
    dataset = found.get("dataset") if isinstance(found, dict) else None
    fingerprint = dataset.get("fingerprint") if isinstance(dataset, dict) else None
    whole = isinstance(fingerprint, str) and re.fullmatch("[0-9a-f]{64}", fingerprint)
    if not whole or "config" not in found or not isinstance(found.get("changes", []), list):
        raise UserError(
            f"{join(run.uri, CONFIG)} is damaged; restore it, or choose another folder with --out"
        )
    parse_config(found["config"])
    return dict(found)


def split_snapshot(uri: str) -> tuple[str, str]:
    """(run, images) of a snapshot URI ``<run>/snapshots/<images>``; the run is "" for others."""
    run, _, images = uri.rstrip("/").rpartition(f"/{SNAPSHOTS}/")
    return ("", images) if "/" in images else (run, images)


def run_of(snapshot: Storage) -> Storage | None:
    """The run folder that a snapshot is in, if it still is in one."""
    run, _ = split_snapshot(snapshot.uri)
    storage = open_storage(run) if run else None
    return storage if storage and storage.stat(METRICS) else None


def _counts(run: Storage, pattern: str) -> list[int]:
    prefix = pattern.partition("/")[0] + "/"
    found = (re.fullmatch(pattern, info.key) for info in run.list(prefix))
    return sorted(int(match[1]) for match in found if match)
