"""An export is used where there is PyTorch and nothing of ours."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dcvae.cli import main
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage
from tests.inference.test_model import AUTOGAN, COLOUR, model

ALONE = """
import sys
class Nothing:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("dcvae", "safetensors", "pydantic", "deepspeed"):
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
import torch
given = torch.load("given.pt")
encoder = torch.export.load("encoder.pt2").module()
decoder = torch.export.load("decoder.pt2").module()
mu, logvar = encoder(given["images"])
again = {"mu": mu, "logvar": logvar, "images": decoder(given["z"]), "one": decoder(given["z"][:1])}
torch.save({name: value.detach() for name, value in again.items()}, "found.pt")
del encoder, decoder
exec(open("README.md").read().partition("```python")[2].partition("```")[0])
assert new.shape == (4, 3, *given["images"].shape[2:])
assert "dcvae" not in sys.modules
"""


@pytest.mark.parametrize("settings", [COLOUR, AUTOGAN], ids=["progan", "autogan"])
def test_the_programs_compute_what_the_model_does(
    tmp_path: Path, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = model(settings)
    place, snapshot = tmp_path / "an export", str(tmp_path / "snapshot")
    dataset = {"uri": "x", "name": "x", "fingerprint": "0" * 64}
    save_snapshot(open_storage(snapshot), loaded.network, images=0, dataset=dataset)
    with pytest.raises(SystemExit) as ended:
        main(["export", snapshot, "--out", str(place), "--json"])
    assert ended.value.code == 0
    about = json.loads(capsys.readouterr().out)
    assert about == json.loads((place / "export.json").read_text())
    for name, digest in about["sha256"].items():
        assert hashlib.sha256((place / name).read_bytes()).hexdigest() == digest

    z = torch.randn(5, loaded.latent_dim, generator=torch.Generator().manual_seed(0))
    images = loaded.decode(z)
    torch.save({"images": images, "z": z}, place / "given.pt")
    alone = [sys.executable, "-I", "-c", ALONE]
    done = subprocess.run(alone, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = torch.load(place / "found.pt")
    mu, logvar = loaded.encode(images)
    for name, expected in {"mu": mu, "logvar": logvar, "images": images, "one": images[:1]}.items():
        assert torch.allclose(found[name], expected, atol=1e-5), name


def test_a_dtype_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "nothing", "--out", "x", "--dtype", "int8"])
    assert ended.value.code == 2
    assert "--dtype int8 is not possible; use one of: float32" in capsys.readouterr().err
