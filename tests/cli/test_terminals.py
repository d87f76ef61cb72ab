"""Whatever is behind the output, whoever runs it: the work is done, or a sentence says why not."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_verbs import DCVAE, dcvae
from tests.registry.conftest import FD, write_evaluation, write_snapshot

EVIL = "x[v2]\x1b[31m[bold]"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twenty pictures below names that a terminal would act on."""
    folder = tmp_path_factory.mktemp("terminals")
    (folder / EVIL).mkdir()
    noise = np.random.default_rng(0)
    for n in range(20):
        pixels = noise.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / EVIL / f"{n}.png")
    (folder / EVIL / "bad\x1b]0;owned\x07.png").write_bytes(b"nothing")
    shard = ("shard", EVIL, "set", "--resolution", "8", "--max-bad-fraction", "0.1")
    done = run(folder, *shard, "--name", EVIL)
    assert done.returncode == 0, done.stderr
    return folder


def run(where: Path, *words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.run([*DCVAE, *words], cwd=where, check=False, **given)  # type: ignore[call-overload, no-any-return]


def test_names_cannot_act_on_a_terminal(place: Path) -> None:
    done = run(place, "inspect", "set")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert r"x[v2]\x1b[31m[bold]" in done.stdout
    assert r"bad\x1b]0;owned\x07.png" in done.stdout
    told = run(place, "inspect", f"nowhere{EVIL}").stderr
    assert "\x1b" not in told
    assert told.count("\n") == 1


def test_names_in_brackets_stand_on_a_terminals_bars(place: Path, tmp_path: Path) -> None:
    """The bars' library takes brackets for markup, unless it is told not to."""
    ours, theirs = pty.openpty()
    words = ("shard", EVIL, str(tmp_path / "set"), "--resolution", "8", "--name", "x[/y] set[v2]")
    done = run(place, *words, "--max-bad-fraction", "0.1", stderr=theirs)
    os.close(theirs)
    said = os.read(ours, 1 << 16).decode()
    assert done.returncode == 0
    assert "sharding x[/y] set[v2]" in said


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_a_character_gets_it_spelled_out(
    place: Path, encoding: str, tmp_path: Path
) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = run(place, "inspect", "set≤", env=environment, encoding=encoding)
    assert done.returncode == 2
    assert r"set\u2264" in done.stderr or "set%E2%89%A4" in done.stderr
    done = run(place, "shard", EVIL, str(tmp_path / "é≤"), "--resolution", "8",
               "--max-bad-fraction", "0.1", env=environment, encoding=encoding)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert r"\u2264 holds" in done.stdout


def test_a_model_is_registered_on_an_ascii_terminal(tmp_path: Path) -> None:
    """What the gate says of thresholds has a character that such a terminal lacks."""
    write_snapshot(tmp_path / "snapshot", b"x")
    write_evaluation(tmp_path / "evaluation", b"x", {FD: 9.0, "pixel_distance": 9.5})
    words = ("register", "snapshot", "--evaluation", "evaluation", "--registry", "models")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    gate = ("--name", "digits", "--maximum", "pixel_distance=10")
    done = run(tmp_path, *words, *gate, env=environment)
    assert done.returncode == 0, done.stderr
    assert r"pixel_distance \u2264 10" in done.stdout + done.stderr


def test_a_full_disk_behind_the_output_is_told(place: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(place, "inspect", "set", stdout=full)
        assert done.returncode == 2
        assert done.stderr == "error: the output cannot be written: No space left on device\n"
        assert run(place, "inspect", "set", stderr=full).returncode == 0
        assert run(place, "inspect", "nowhere", stderr=full).returncode == 2


def test_a_reader_that_leaves_and_closed_streams(place: Path) -> None:
    line = f"{sys.executable} -c 'from dcvae.cli import main; main()'"
    for command in (f"{line} presets digits | head -c 1", f"{line} inspect set >&- 2>&-"):
        done = subprocess.run(command, shell=True, cwd=place, capture_output=True, text=True)  # noqa: S602
        assert done.stderr == ""
        assert done.returncode == 0


def test_inspect_writes_nothing_unless_asked(place: Path) -> None:
    before = sorted(place.rglob("*"))
    dcvae(place, "inspect set")
    assert sorted(place.rglob("*")) == before


def test_nobody_is_at_home(place: Path) -> None:
    for home in ("~nobody-here/x", "~nobody-here"):
        done = run(place, "inspect", home)
        assert done.returncode == 2
        assert "names no folder" in done.stderr
    without = {k: v for k, v in os.environ.items() if k != "HOME"}
    assert run(place, "inspect", "set", env=without).returncode == 0
