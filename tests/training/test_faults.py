"""A training through a network that breaks a third of all answers, and through an outage."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from dcvae.sharding.shard import shard
from dcvae.storage import Storage, open_storage
from dcvae.storage.embedded import EmbeddedS3
from tests.storage.faults import KINDS, faulty_proxy
from tests.training.runs import wait_for

RATE = 0.05  # of each kind
OUTAGE = float(os.environ.get("DCVAE_TEST_OUTAGE", "4"))  # seconds; 30 is what users are promised
# Small shards and many lanes: more requests that can go wrong.
SETTINGS = ("data.lanes=16", "training.checkpoint_images=32", "training.keep_checkpoints=9")


def start(data: str, out: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [sys.executable, "-m", "dcvae", "train", "--preset", "smoke", "--nproc", "1"]
    return subprocess.Popen(
        [*command, "--data", data, "--out", out, *settings],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(run: subprocess.Popen[str]) -> None:
    said, _ = run.communicate(timeout=240)
    assert run.returncode == 0, said


def weights(run: Storage) -> dict[str, str]:
    """Hashes of all tensors that the run has written."""
    keys = [info.key for info in run.list() if info.key.endswith(".safetensors")]
    return {key: hashlib.sha256(run.read(key)).hexdigest() for key in keys}


def test_faults_and_an_outage_change_no_bit(
    s3: EmbeddedS3, s3_uri: str, tmp_path: Path, aws_environment: dict[str, str]
) -> None:
    data, quiet, disturbed = str(tmp_path / "data"), str(tmp_path / "run"), f"{s3_uri}/run"
    options = {"resolution": 8, "samples_per_shard": 24}
    shard("sklearn:digits", data, **options)  # type: ignore[arg-type]
    shard("sklearn:digits", f"{s3_uri}/data", **options)  # type: ignore[arg-type]
    with faulty_proxy(s3.endpoint, dict.fromkeys(KINDS, RATE)) as proxy:
        through_proxy = aws_environment | {
            "AWS_ENDPOINT_URL": proxy.endpoint,
            "AWS_ENDPOINT_URL_S3": proxy.endpoint,
            "DCVAE_STORAGE_TIMEOUT": "1",
        }
        faulty = start(f"{s3_uri}/data", disturbed, through_proxy)
        finish(start(data, quiet, aws_environment))
        run, marker = open_storage(disturbed), "checkpoints/000000000064/COMMIT.json"
        wait_for(lambda: run.stat(marker), faulty, marker)
        proxy.down.set()
        time.sleep(OUTAGE)
        was_running = faulty.poll() is None
        proxy.down.clear()
        finish(faulty)
        assert was_running, "the outage came too late"
        assert all(proxy.counts[kind] for kind in KINDS), proxy.counts
    expected = weights(open_storage(quiet))
    assert len(expected) >= 10
    assert weights(open_storage(disturbed)) == expected
    result = json.loads(open_storage(disturbed).read("result.json"))
    assert result["images"] == 192
