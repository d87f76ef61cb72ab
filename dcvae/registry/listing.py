"""Lists the models of a registry, how many versions each has, and which one leads."""

import re
from dataclasses import dataclass

from dcvae.registry.champion import read_state
from dcvae.registry.versions import check_name
from dcvae.storage import open_storage

_RECORD = re.compile(r"([^/]+)/versions/(\d{6,})\.json")


@dataclass(frozen=True)
class Listed:
    """One model of a registry."""

    name: str
    versions: int
    champion: int | None


def list_models(registry: str) -> list[Listed]:
    """The models of a registry by name; empty if there is no registry."""
    storage = open_storage(registry)
    counts: dict[str, int] = {}
    for info in storage.list():
        if match := _RECORD.fullmatch(info.key):
            counts[match[1]] = counts.get(match[1], 0) + 1
    return [
        Listed(name, counts[name], read_state(storage.child(check_name(name))).version)
        for name in sorted(counts)
    ]
