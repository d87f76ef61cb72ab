"""Checks the other registry that shows the models."""

import os
from collections.abc import Iterator

from dcvae.doctor.finding import Finding
from dcvae.environment import REGISTRY
from dcvae.errors import UserError

_NOBODY = ("s3://dcvae/models/dcvae-doctor", "dcvae-doctor")
"""A model that does not exist: asking for it shows whether the registry answers."""


def catalogue() -> Iterator[Finding]:
    """Whether the registry that ``DCVAE_REGISTRY`` names answers; nothing if it names none."""
    from dcvae.registry import open_catalogue

    if not os.environ.get(REGISTRY):
        return
    try:
        found = open_catalogue()
        if found is not None:
            found.check(*_NOBODY)
            yield Finding("ok", "registry", f"{found.title} answers at {found.address}")
    except UserError as error:
        yield Finding("fail", "registry", str(error))
