"""Check of the other registry that is to show the models."""

import os
from collections.abc import Iterator

from dcvae.doctor.finding import Finding
from dcvae.environment import REGISTRY
from dcvae.errors import UserError

_NOBODY = ("s3://dcvae/models/dcvae-doctor", "dcvae-doctor")
"""A model that there is not: asked about, it shows that the registry answers."""


def catalogue() -> Iterator[Finding]:
    """Whether the registry that ``DCVAE_REGISTRY`` names answers; nothing where none is named."""
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
