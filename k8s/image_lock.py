"""The part of requirements.lock that the image needs: ``python image_lock.py [WITHOUT] > lock``.

What only tests and linters need is left out: a package is kept if the project names it outside the
extras ``test`` and ``lint``, or if a kept package requires it, as the lock says after each. WITHOUT
is a pattern of names that are installed from elsewhere.
"""

import re
import sys
import tomllib
from pathlib import Path

DEVELOPERS = ("test", "lint")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def named(project: dict) -> set[str]:
    """The packages that ``project`` names for running it."""
    extras = project["optional-dependencies"]
    found = [*project["dependencies"]]
    for name in extras.keys() - set(DEVELOPERS):
        found += extras[name]
    return {normal(_NAME.match(each)[0]) for each in found} - {project["name"]}


def normal(name: str) -> str:
    """The normalized name of a package, as in the lock."""
    return re.sub(r"[-_.]+", "-", name).lower()


def blocks(lock: str) -> dict[str, str]:
    """The lines of the lock by package."""
    parts = re.split(r"^(?=[a-z0-9][\w.-]*==)", lock, flags=re.MULTILINE)
    return {part.partition("==")[0]: part for part in parts[1:]}


def needed(lock: dict[str, str], roots: set[str]) -> set[str]:
    """``roots`` and everything they require, directly or indirectly."""
    requirers = {
        name: set(re.findall(r"^    #(?: via|  ) +([\w.-]+)", part, re.MULTILINE))
        for name, part in lock.items()
    }
    found = roots & lock.keys()
    while more := {name for name in lock.keys() - found if requirers[name] & found}:
        found |= more
    return found


def main(without: str) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    lock = blocks(Path("requirements.lock").read_text())
    kept = needed(lock, named(project))
    for name, part in lock.items():
        if name in kept and not (without and re.match(without, name)):
            print(part, end="")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
