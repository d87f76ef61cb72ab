"""The run folder: what a run leaves behind, and how the same command finds it again.

::

    <run>/config.json            the resolved configuration, saved before the first step
    <run>/checkpoints/…          see dcvae.training.checkpoint
    <run>/snapshots/<images>/    see dcvae.snapshot
    <run>/samples/<images>.png, <run>/reconstructions/<images>.png
    <run>/metrics.jsonl          one line every log interval
    <run>/profiles/…             see dcvae.training.profiling
    <run>/result.json            written last: the run is complete
"""

import json
from typing import Any

import torch
from torch import Tensor

from dcvae.config import Config, parse_config
from dcvae.data.manifest import load_manifest
from dcvae.errors import UserError
from dcvae.models import DCVAE
from dcvae.pictures import pairs, png, sheet
from dcvae.snapshot import save_snapshot
from dcvae.storage import Conflict, Storage, join, open_storage
from dcvae.training.telemetry import json_line
from dcvae.training.version import manifest_for

SAMPLES, COLUMNS, CELL = 64, 8, 64


class RunFolder:
    """Writes the run's files; used by rank 0 alone, except for :meth:`claim`."""

    def __init__(self, storage: Storage, config: Config, data: str) -> None:
        """``data`` is the URI of the shard set. Raises UserError when there is none."""
        self.storage, self.config, self.data = storage, config, data
        self.shards = open_storage(data)
        self.manifest = load_manifest(self.shards)
        """What the run is trained on; see :meth:`claim`."""
        self.checkpoints, self.profiles = storage.child("checkpoints"), storage.child("profiles")
        self.metrics: list[str] = []

    def claim(self) -> None:
        """Save config.json, or find that the folder already holds this very run.

        A run that began with an earlier version of the data set goes on with that one.

        Raises UserError when the folder holds a run of another configuration or data set.
        """
        content = {
            "config": self.config.model_dump(mode="json"),
            "dataset": self.dataset(),
        }
        try:
            self.storage.write(
                "config.json", json.dumps(content, indent=1).encode(), if_absent=True
            )
        except Conflict:
            found = self.storage.read_json("config.json")
            if parse_config(found["config"]).digest() != self.config.digest():
                raise UserError(
                    f"{self.storage.uri} holds a run of another configuration; choose another "
                    "folder with --out, or delete this one"
                ) from None
            self.manifest = manifest_for(self.storage, self.shards)

    def dataset(self) -> dict[str, str]:
        """What the run is trained on."""
        return {
            "uri": self.data,
            "name": self.manifest.name,
            "fingerprint": self.manifest.fingerprint,
        }

    def resume_metrics(self, images: int) -> None:
        """Keep the metrics of up to ``images`` images; the run says the others again."""
        if self.storage.stat("metrics.jsonl"):
            lines = self.storage.read_text("metrics.jsonl").splitlines(keepends=True)
            self.metrics = [line for line in lines if json.loads(line)["images"] <= images]

    def log(self, record: dict[str, float]) -> None:
        """Take one line of metrics; written with the next :meth:`write_metrics`."""
        self.metrics.append(json_line(record))

    def write_metrics(self) -> None:
        """Write metrics.jsonl with every line so far."""
        self.storage.write("metrics.jsonl", "".join(self.metrics).encode())

    def save_snapshot(self, model: DCVAE, images: int) -> str:
        """Save ``model`` for users and return the snapshot's URI."""
        place = self.storage.child("snapshots", f"{images:012d}")
        save_snapshot(place, model, images=images, dataset=self.dataset())
        return place.uri

    @torch.no_grad()
    def save_pictures(self, model: DCVAE, inputs: Tensor, images: int) -> None:
        """Samples from fixed latents, and ``inputs`` [N, C, r, r] beside their reconstructions."""
        generator = torch.Generator().manual_seed(self.config.training.seed)
        sample = sheet(model.sample(SAMPLES, generator), COLUMNS, CELL)
        both = sheet(pairs(inputs, model.reconstruct(inputs)), COLUMNS, CELL)
        self.storage.write(f"samples/{images:012d}.png", png(sample))
        self.storage.write(f"reconstructions/{images:012d}.png", png(both))

    def finish(self, images: int, seconds: float) -> None:
        """Write result.json: from here on the run is complete."""
        result: dict[str, Any] = {
            "snapshot": join("snapshots", f"{images:012d}"),
            "images": images,
            "seconds": round(seconds, 3),
            "config_digest": self.config.digest(),
            "dataset_fingerprint": self.manifest.fingerprint,
        }
        self.storage.write("result.json", json.dumps(result, indent=1).encode())
