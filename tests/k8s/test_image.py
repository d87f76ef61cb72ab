"""What the image's first stage chooses from the lock, run with the Dockerfile's own commands."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def chosen(folder: Path, torch_index: str) -> tuple[set[str], list[str]]:
    """Names in the lock that is installed, and the arguments of each ``pip install``."""
    for name in ("requirements.lock", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (script,) = re.findall(r"^RUN --mount=\S+ ((?:.*\\\n)+.*)", DOCKERFILE, re.MULTILINE)
    script = script.replace("/opt/dcvae/bin/pip", "echo pip").replace("\\\n", " ")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "TORCH_INDEX": torch_index},
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


@pytest.mark.parametrize("index", ["", "https://torch.example/cpu"])
def test_the_image_has_what_runs_and_not_what_tests(tmp_path: Path, index: str) -> None:
    names, installs = chosen(tmp_path, index)
    torch = {"torch", "torchvision"}
    assert names >= (wanted() - torch if index else wanted())
    assert not names & {"pytest", "ruff", "mypy", "playwright", "hypothesis", "kubernetes-validate"}
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


def test_both_stages_begin_with_the_same_pinned_image_and_the_last_is_nobodys() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.search(r":\d+\.\d+\.\d+-", bases[0])
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    assert "USER 10001:10001" in last
    assert "RUN" not in last, "nothing is installed in it"
    assert "HEALTHCHECK" not in last
    assert last.count("org.opencontainers.image.") == 3
