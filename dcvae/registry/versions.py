"""Versions: immutable records, numbered without gaps."""

import itertools
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dcvae.errors import UserError
from dcvae.evaluation.results import Evaluation
from dcvae.storage import Conflict, NotFound, Storage, open_storage, read_versioned, to_json

FORMAT_VERSION = 1
CARD = "model_card.md"
"""The description of a version, for people, beside its weights."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


class Version(BaseModel):
    """The record of a version, as stored in ``versions/<number>.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    format_version: int = FORMAT_VERSION
    version: int
    digest: str
    """SHA-256 of weights, configuration and evaluation: equal content, equal version."""
    weights_sha256: str
    config_sha256: str
    evaluation: Evaluation
    lineage: dict[str, Any]
    """Where it comes from: config digest, dataset fingerprint, code version, run."""
    created_at: str

    @property
    def folder(self) -> str:
        """Key of the content's folder, below the model's."""
        return f"content/{self.digest[:32]}"


def check_name(name: str) -> str:
    """Return ``name``. Raises UserError if it cannot be part of a URI and a label."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot name a model: use 1 to 63 lower-case letters, digits, '.', '_' "
            "or '-', beginning and ending with a letter or digit"
        )
    return name


def open_model(registry: str, name: str) -> Storage:
    """The folder of the model ``name`` in a registry.

    Raises:
        UserError: the name cannot be part of a URI and a label.
    """
    return open_storage(registry).child(check_name(name))


def key_of(number: int) -> str:
    """Key of a version's record."""
    return f"versions/{number:06d}.json"


def read_version(model: Storage, number: int) -> Version:
    """The record of version ``number``.

    Raises:
        UserError: there is no such version, or a later dcvae wrote it.
    """
    try:
        content = read_versioned(model, key_of(number), FORMAT_VERSION)
    except NotFound:
        raise UserError(f"{model.uri} has no version {number}") from None
    try:
        return Version.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{model.uri}/{key_of(number)} is malformed: {error}") from error


def list_versions(registry: str, name: str) -> list[Version]:
    """All versions of a model, oldest first."""
    model = open_model(registry, name)
    return [read_version(model, number) for number in numbers(model)]


def find(model: Storage, digest: str) -> tuple[Version | None, int]:
    """The version whose content has this digest, or None; and the last number seen."""
    taken = numbers(model)
    for number in taken:
        version = read_version(model, number)
        if version.digest == digest:
            return version, number
    return None, max(taken, default=0)


def add_version(model: Storage, draft: Version, after: int) -> Version:
    """Write ``draft`` under the next free number, or return the version that has its content.

    The numbers after ``after`` are tried in turn, and one that is taken is read: so numbers have no
    gaps, and equal content that is registered at the same time becomes one version.
    """
    for number in itertools.count(after + 1):
        version = draft.model_copy(update={"version": number})
        try:
            model.write(key_of(number), to_json(version.model_dump(mode="json")), if_absent=True)
            return version
        except Conflict:
            taken = read_version(model, number)
            if taken.digest == draft.digest:
                return taken
    raise AssertionError("numbers do not end")


def numbers(model: Storage) -> list[int]:
    """The numbers of a model's versions, ascending."""
    keys = (info.key for info in model.list("versions/"))
    matches = (re.fullmatch(r"versions/(\d{6,})\.json", key) for key in keys)
    return sorted(int(match[1]) for match in matches if match)
