"""The command in any folder, also where nothing can be written and there is no home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DCVAE = [sys.executable, "-c", "from dcvae.cli import main; main()"]
READ_ONLY = "/sys"
"""A folder in which not even root can write."""
NAMED = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
"""Has typer show the completion of the shell that is named, not of the one above the tests."""


def dcvae(where: str | Path, *words: str, **environment: str) -> str:
    """What the command prints, without HOME and the like."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [*DCVAE, *words],
        cwd=where,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_images_to_pictures_in_a_read_only_folder_without_a_home(tmp_path: Path) -> None:
    place = tmp_path / "a place with spaces"
    place.mkdir()
    data, run, out = (str(place / name) for name in ("my digits", "my run", "a result"))
    surroundings = {"HOME": "/nonexistent", "TMPDIR": str(tmp_path)}
    dcvae(READ_ONLY, "shard", "sklearn:digits", data, "--resolution", "8", **surroundings)
    train = ["train", "--preset", "smoke", "--data", data, "--out", run, "--nproc", "1"]
    snapshot = dcvae(READ_ONLY, *train, TMPDIR=str(tmp_path)).strip()
    evaluate = ["evaluate", snapshot, "--data", data, "--out", out, "--samples", "16"]
    dcvae(READ_ONLY, *evaluate, **surroundings)
    picture = place / "new images.png"
    dcvae(READ_ONLY, "sample", snapshot, "--out", str(picture), "-n", "4")
    assert picture.stat().st_size > 500


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dcvae pro", {"promote"}),
        ("dcvae train --preset ce", {"celeba128", "celebahq512"}),
        ("dcvae history --js", {"--json"}),
    ],
)
def test_a_shell_completes_verbs_options_and_presets(words: str, expected: set[str]) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    said = dcvae(READ_ONLY, _DCVAE_COMPLETE="complete_bash", **asked)
    assert set(said.split()) == expected


def test_completion_is_offered_for_the_usual_shells() -> None:
    for shell in ("bash", "zsh", "fish"):
        said = dcvae(READ_ONLY, "--show-completion", shell, **NAMED)
        assert "_DCVAE_COMPLETE" in said
