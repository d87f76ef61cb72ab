"""The manifest: what a shard set contains. Its presence means that the set is complete."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from dcvae.errors import UserError
from dcvae.storage import NotFound, Storage
from dcvae.storage.uri import check_key

FORMAT_VERSION = 2  # 1 had neither notes nor ignored
MANIFEST = "manifest.json"

Encoding = Literal["npy", "jpg", "png"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _key(key: str) -> str:
    try:
        return check_key(key)
    except UserError as error:  # pydantic collects ValueErrors
        raise ValueError(str(error)) from None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shard(_Part):
    """A tar file: its key below the set, number of samples, size in bytes, and hash."""

    key: Annotated[str, AfterValidator(_key)]
    samples: PositiveInt
    bytes: PositiveInt
    sha256: Sha256


class Origin(_Part):
    """Where the images came from, with a fingerprint of their names and stamps in order.

    ``hints`` are the user's hints on how to interpret it, such as how many images to hold out.
    """

    uri: str
    fingerprint: Sha256
    hints: dict[str, str | float | bool | None] | None = None


class Skipped(_Part):
    """An image that could not be used, and why."""

    split: str
    name: str
    reason: str


class Ignored(_Part):
    """Files of one kind that were not used as images: how many, and one of them."""

    kind: str
    files: PositiveInt
    example: str


class Manifest(_Part):
    """Contents of ``manifest.json``.

    ``splits`` maps a split's name to its shards by resolution (as text). Shard *i* of a split holds
    the same samples in the same order at every resolution. ``records`` counts the records beside
    the shards, ``<split>/index/shard-<i>.json``, which say what each sample was made from.
    ``notes`` say how the source was interpreted. ``grown_from`` is the fingerprint of the previous
    version.
    """

    format_version: Literal[1, 2]
    name: str
    resolutions: list[PositiveInt]
    channels: Literal[1, 3]
    encoding: dict[str, Encoding]
    samples_per_shard: PositiveInt
    splits: dict[str, dict[str, list[Shard]]]
    records: dict[str, NonNegativeInt]
    classes: list[str] | None
    skipped: list[Skipped]
    ignored: list[Ignored] = []
    notes: list[str] = []
    source: Origin
    created_at: str
    dcvae_version: str
    fingerprint: Sha256
    grown_from: Sha256 | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        names = [str(resolution) for resolution in self.resolutions]
        if self.resolutions != sorted(set(self.resolutions)) or not names:
            raise ValueError("the resolutions are not ascending")
        if list(self.encoding) != names:
            raise ValueError("there is not one encoding for each resolution")
        if not self.splits:
            raise ValueError("there is no split")
        for split, levels in self.splits.items():
            if sorted(levels) != sorted(names):
                raise ValueError(f"split {split} does not have all the resolutions")
            lengths = {tuple(shard.samples for shard in shards) for shards in levels.values()}
            if len(lengths) != 1:
                raise ValueError(f"split {split} does not hold the same samples in all resolutions")
        if self.fingerprint != fingerprint(self.splits):
            raise ValueError("the fingerprint does not belong to these shards")
        return self

    def shards(self, split: str, resolution: int) -> list[Shard]:
        """The shards of one split at one resolution, in order.

        Raises:
            UserError: the set has no such split or resolution.
        """
        if split not in self.splits:
            raise UserError(f"{self.name} has no split {split}: it has {', '.join(self.splits)}")
        if resolution not in self.resolutions:
            there = ", ".join(map(str, self.resolutions))
            raise UserError(f"{self.name} has no images of {resolution} pixels: it has {there}")
        return self.splits[split][str(resolution)]

    def samples(self, split: str) -> int:
        """Number of samples of ``split``.

        Raises:
            UserError: the set has no such split.
        """
        return sum(shard.samples for shard in self.shards(split, self.resolutions[0]))


def fingerprint(splits: dict[str, dict[str, list[Shard]]]) -> str:
    """Hash of all shard hashes: equal content has equal fingerprints."""
    hashes = {
        split: {resolution: [shard.sha256 for shard in shards] for resolution, shards in s.items()}
        for split, s in splits.items()
    }
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def version_key(identity: str) -> str:
    """Key of the copy of a manifest that stays when the set grows."""
    return f"versions/{identity}.json"


def load_manifest(storage: Storage, fingerprint: str | None = None) -> Manifest:
    """Read the manifest of the shard set in ``storage``.

    Args:
        fingerprint: that of an earlier version, for a run that keeps to what it began with.

    Raises:
        UserError: there is none, it is malformed, or it is of a later format version.
    """
    uri = storage.uri
    try:
        content = storage.read_json(MANIFEST)
        if fingerprint and _get(content, "fingerprint") != fingerprint:
            content = storage.read_json(version_key(fingerprint))
    except NotFound as error:
        wanted = f"version {fingerprint[:8]} of a shard set" if fingerprint else "shard set"
        raise UserError(f"{uri} holds no complete {wanted}: make one with dcvae shard") from error
    written = _get(content, "format_version")
    if isinstance(written, int) and written > FORMAT_VERSION:
        raise UserError(
            f"{uri} has a manifest of format version {written}, this program reads up to "
            f"{FORMAT_VERSION}: install a newer dcvae"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or MANIFEST
        raise UserError(f"{uri} has a malformed manifest: {place}: {first['msg']}") from error


def _get(content: Any, field: str) -> Any:
    return content.get(field) if isinstance(content, dict) else None
