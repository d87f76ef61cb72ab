"""The verbs, one after the other, on real data: from images to a model and to pictures."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

DCVAE = [sys.executable, "-c", "from dcvae.cli import main; main()"]


def dcvae(where: Path, line: str) -> str:
    """What the command prints when it is run in the folder ``where``."""
    done = subprocess.run(
        [*DCVAE, *line.split()], cwd=where, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_images_to_pictures(tmp_path: Path) -> None:
    assert "1,438 train, 359 test" in dcvae(
        tmp_path, "shard sklearn:digits digits --resolution 8 --name digits"
    )
    train = "train --preset smoke --data digits --out run --nproc 2"
    assert '"preset": "smoke"' in dcvae(tmp_path, f"{train} --dry-run")
    assert not (tmp_path / "run").exists()
    snapshot = dcvae(tmp_path, train).strip()
    assert Path(tmp_path / snapshot / "model.safetensors").exists()

    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*.*")}
    assert dcvae(tmp_path, train).strip() == snapshot
    found = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*.*")}
    assert found == written, "a finished run is not started again"

    assert dcvae(tmp_path, f"sample {snapshot} --out new.png -n 9") == "new.png\n"
    assert dcvae(tmp_path, f"sample {snapshot} --out same.png -n 9") == "same.png\n"
    assert (tmp_path / "new.png").read_bytes() == (tmp_path / "same.png").read_bytes()
    Image.new("L", (30, 20), 200).save(tmp_path / "grey.png")
    dcvae(tmp_path, f"reconstruct {snapshot} grey.png --out pair.png")
    width, height = Image.open(tmp_path / "pair.png").size
    assert width > 2 * height - 9


def test_help_has_examples_and_loads_little(tmp_path: Path) -> None:
    for verb in (
        "",
        "shard",
        "inspect",
        "train",
        "evaluate",
        "register",
        "compare",
        "promote",
        "models",
        "history",
        "sample",
        "reconstruct",
        "export",
        "interpolate",
        "mix",
        "edit",
        "doctor",
    ):
        assert f"dcvae {verb}".strip() in dcvae(tmp_path, f"{verb} --help")
    program = (
        "import sys\n"
        "from dcvae.cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'boto3', 'kfp', 'numpy'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr


@pytest.mark.parametrize("verb", ["presets", "presets digits", "--version"])
def test_small_verbs_print_something(tmp_path: Path, verb: str) -> None:
    assert dcvae(tmp_path, verb).strip()
