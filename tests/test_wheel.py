"""What is installed: the library, whole, and nothing of ours beside it."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
CONTENT = ("pyproject.toml", "README.md", "LICENSE", "dcvae", "components", "pipelines")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy, so that building leaves nothing in this one."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in CONTENT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    return copy


def built(checkout: Path, kind: str) -> ZipFile:
    """The wheel that setuptools makes of ``checkout``, without a network."""
    program = f"from setuptools import build_meta; build_meta.build_{kind}('out')"
    (checkout / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (checkout / "out").glob("*.whl")
    return ZipFile(wheel)


def test_a_wheel_has_the_library_alone_and_all_of_it(checkout: Path) -> None:
    with built(checkout, "wheel") as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = {path for path in (ROOT / "dcvae").rglob("*") if path.is_file()}
    wanted = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert names == wanted


def test_a_checkout_that_is_installed_has_its_pipelines_too(checkout: Path) -> None:
    with built(checkout, "editable") as wheel:
        (path,) = (name for name in wheel.namelist() if name.endswith(".pth"))
        assert wheel.read(path).decode().split() == [str(checkout)], "the root of everything"
