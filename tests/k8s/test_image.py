"""What the image's first stage chooses from the lock, run with the Dockerfile's own commands."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def chosen(folder: Path, torch_index: str) -> tuple[set[str], list[str]]:
    """Names in the lock that is installed, and the arguments of each ``pip install``."""
    names = ("requirements.lock", "constraints.txt", "pyproject.toml", "k8s/image_lock.py")
    for name in names:
        shutil.copy(ROOT / name, folder)
    (script,) = re.findall(r"^RUN --mount=\S+ ((?:.*\\\n)+.*)", DOCKERFILE, re.MULTILINE)
    script = script.replace("/opt/dcvae/bin/pip", "echo pip").replace("\\\n", " ")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "TORCH_INDEX": torch_index},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (folder / "wanted.lock").read_text().splitlines()
    assert all("==" in line or line.startswith((" ", "#")) for line in lines if line)
    return {line.partition("==")[0] for line in lines if "==" in line}, done.stdout.splitlines()


def wanted() -> set[str]:
    """What dcvae names as its dependencies, but for tests and linters."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"]]
    named += [each for extra in extras for each in extras[extra] if extra not in ("test", "lint")]
    return {re.split(r"[<>=\[]", each)[0] for each in named} - {"dcvae"}


def kept_out() -> list[str]:
    """What only tests and linters name."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = extras["optional-dependencies"]
    found = [re.split(r"[<>=\[]", each)[0] for each in [*extras["test"], *extras["lint"]]]
    return [name for name in found if name not in ("dcvae", "pyyaml")]  # that one is KFP's too


@pytest.mark.parametrize("index", ["", "https://torch.example/cpu"])
def test_the_image_has_what_runs_and_not_what_tests(tmp_path: Path, index: str) -> None:
    names, installs = chosen(tmp_path, index)
    torch = {"torch", "torchvision"}
    assert names >= (wanted() - torch if index else wanted())
    assert not names & set(kept_out())
    assert not names & {"pytest", "pluggy", "pandas", "matplotlib", "sqlalchemy"}, "theirs neither"
    assert all("--no-deps" in each for each in installs)
    assert "--require-hashes" in installs[-1]
    assert len(installs) == (2 if index else 1)
    gpu = {name for name in names if name.startswith(("nvidia-", "triton", "cuda-"))}
    assert bool(gpu) != bool(index)
    if index:
        assert not names & torch
        versions = (tmp_path / "torch.txt").read_text().split()
        assert {each.partition("==")[0] for each in versions} == torch
        assert all(each.endswith("+cpu") for each in versions)


def test_whatever_is_installed_finds_what_it_requires(tmp_path: Path) -> None:
    """By what the packages of this environment say, not by the lock."""
    names, _ = chosen(tmp_path, "")
    missing = set()
    for name in names:
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another system
        for each in map(Requirement, required):
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                missing |= {(name, canonicalize_name(each.name))}
    assert not {each for each in missing if each[1] not in names}


def test_both_stages_begin_with_the_same_pinned_image_and_the_last_is_nobodys() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases == ["${BASE}", "${BASE}"], "one line to pin both by digest"
    (base,) = re.findall(r"^ARG BASE=(\S+)", DOCKERFILE, re.MULTILINE)
    assert re.search(r":\d+\.\d+\.\d+-", base)
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    assert "USER 10001:10001" in last
    (installed,) = re.findall(r"^RUN ((?:.*\\\n)+.*)", last, re.MULTILINE)
    assert "ibverbs" in installed
    assert "pip" not in installed
    assert installed.rstrip().endswith("rm -rf /var/lib/apt/lists/*")
    assert "HEALTHCHECK" not in last
    assert last.count("org.opencontainers.image.") == 3


def test_the_driver_that_cuda_needs_is_asked_for() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    (cuda,) = re.findall(r"^cuda-toolkit==(\d+\.\d+)", lock, re.MULTILINE)
    assert f'NVIDIA_REQUIRE_CUDA="cuda>={cuda}"' in DOCKERFILE


def test_what_the_image_copies_is_sent_to_docker() -> None:
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, re.MULTILINE):
        for name in line.split()[:-1]:
            assert f"!{name}" in sent, name


def test_the_pipelines_are_on_the_images_path() -> None:
    (place,) = re.findall(r"PYTHONPATH=(\S+)", DOCKERFILE)
    for folder in ("components", "pipelines"):
        assert f"COPY {folder} {place}/{folder}\n" in DOCKERFILE
    assert place.startswith("/opt/dcvae/"), "what the last stage takes over"
