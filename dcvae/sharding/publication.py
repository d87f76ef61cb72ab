"""Publishes a set by writing its manifest, last: without a manifest there is no set."""

from typing import Any, Literal, cast

from dcvae.errors import UserError
from dcvae.sharding.build import Finished
from dcvae.sharding.claim import Claim
from dcvae.sharding.plan import Spec, Survey
from dcvae.sharding.sources import Source
from dcvae.shards.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    Encoding,
    Ignored,
    Manifest,
    Origin,
    Shard,
    Skipped,
    fingerprint,
    load_manifest,
    version_key,
)
from dcvae.storage import Conflict, timestamp
from dcvae.version import __version__


def manifest_of(
    source: Source,
    spec: Spec,
    seen: Survey,
    made: dict[str, list[Finished]],
    name: str,
    grown_from: Manifest | None = None,
    hints: dict[str, Any] | None = None,
) -> Manifest:
    """The manifest of the shards ``made``, after those of ``grown_from``.

    Raises:
        UserError: there is nothing to train on.
    """
    base = grown_from.splits if grown_from else {}
    splits = {
        split: {
            str(r): [*base.get(split, {}).get(str(r), []), *_shards(shards, r)]
            for r in spec.resolutions
        }
        for split, shards in made.items()
    }
    if not splits["train"][str(spec.resolution)]:
        raise UserError(f"{source.uri} has no usable image to train on")
    skipped = [
        Skipped(split=split, name=item, reason=reason)
        for split, shards in made.items()
        for shard in shards
        for item, reason in shard.skipped
    ]
    counted = {split: len(shards) for split, shards in made.items()}
    if grown_from:
        counted = {s: n + grown_from.records.get(s, 0) for s, n in counted.items()}
    return Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        resolutions=spec.resolutions,
        channels=cast(Literal[1, 3], spec.channels),
        encoding={str(r): cast(Encoding, kind) for r, kind in spec.encoding.items()},
        samples_per_shard=spec.samples_per_shard,
        splits=splits,
        records=counted,
        classes=source.classes,
        skipped=[*(grown_from.skipped if grown_from else []), *skipped],
        ignored=[Ignored(kind=k, files=n, example=e) for k, n, e in source.ignored],
        notes=list(source.notes),
        source=Origin(uri=source.uri, fingerprint=seen.fingerprint, hints=hints),
        created_at=timestamp(),
        dcvae_version=__version__,
        fingerprint=fingerprint(splits),
        grown_from=grown_from.fingerprint if grown_from else None,
    )


def publish(manifest: Manifest, claim: Claim) -> Manifest:
    """Write the manifest unless an equal one is there, and return the one that is published.

    Raises:
        UserError: a shard is gone, or another writer was first with different images.
    """
    storage = claim.storage
    claim.check()
    for split, levels in manifest.splits.items():
        sizes = {info.key: info.size for info in storage.list(f"{split}/")}
        for shard in (shard for shards in levels.values() for shard in shards):
            if sizes.get(shard.key) != shard.bytes:
                raise UserError(
                    f"{storage.uri}/{shard.key} was removed or changed: run the same command again"
                )
    body = manifest.model_dump_json(indent=1).encode()
    storage.write(version_key(manifest.fingerprint), body)
    try:
        storage.write(MANIFEST, body, if_absent=claim.base is None, if_match=claim.base)
    except Conflict:
        claim.release()
        present = load_manifest(storage)
        if present.fingerprint != manifest.fingerprint:
            raise UserError(
                f"{storage.uri} was finished by another writer with other images: choose another "
                "destination"
            ) from None
        return present
    claim.release()
    return manifest


def _shards(made: list[Finished], resolution: int) -> list[Shard]:
    return [shard.shards[str(resolution)] for shard in made if shard.shards]
