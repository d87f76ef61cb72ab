"""An evaluation through a network that breaks a third of all answers."""

from pathlib import Path
from typing import Any

import pytest

from dcvae.evaluation import evaluate, passes
from dcvae.sharding.shard import shard
from dcvae.storage import open_storage
from dcvae.storage.embedded import EmbeddedS3
from tests.evaluation.conftest import write_model
from tests.storage.faults import KINDS, faulty_proxy

RATE = 0.05  # of each kind
SMALL = "reference_images=80,reconstructions=80,samples=80,probe_images=80"
SHARDS: Any = {"resolution": 8, "samples_per_shard": 24}


def test_it_ends_with_equal_figures(
    s3: EmbeddedS3, s3_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = open_storage(write_model(tmp_path / "snapshot"))
    there = open_storage(f"{s3_uri}/snapshot")
    for info in here.list():
        there.write(info.key, here.read(info.key))
    made = [shard("sklearn:digits", f"{root}/data", **SHARDS) for root in (tmp_path, s3_uri)]
    assert made[0].fingerprint == made[1].fingerprint
    monkeypatch.setattr(passes, "SAVE_SECONDS", 0.0)

    def measured(root: object) -> Any:
        places = [f"{root}/{name}" for name in ("snapshot", "data", "out")]
        return evaluate(*places, protocol=f"held-out,{SMALL}", batch_size=16)

    expected = measured(tmp_path)
    with faulty_proxy(s3.endpoint, dict.fromkeys(KINDS, RATE)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        monkeypatch.setenv("DCVAE_STORAGE_TIMEOUT", "0.5")
        found = measured(s3_uri)
    monkeypatch.undo()
    assert all(proxy.counts[kind] for kind in KINDS), proxy.counts
    assert found.values() == expected.values()
    assert found.confusion == expected.confusion
    files = [open_storage(f"{root}/out").list() for root in (tmp_path, s3_uri)]
    assert [info.key for info in files[0]] == [info.key for info in files[1]]
