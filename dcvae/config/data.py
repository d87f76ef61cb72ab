"""How the shard set is read."""

from typing import Annotated

from pydantic import Field

from dcvae.config.section import OPERATIONAL, Section


class DataConfig(Section):
    """How the shard set is read."""

    split: str = Field(default="train", min_length=1)
    """Which of the shard set's splits is trained on."""
    lanes: int = Field(default=8, ge=1)
    """Places of an epoch that are read at once; part of the order, so part of the result."""
    workers: Annotated[int, OPERATIONAL] = Field(default=2, ge=1)
    """Threads that fetch and decode ahead of each rank."""
    cache_dir: Annotated[str | None, OPERATIONAL] = Field(default=None, min_length=1)
    """Folder on a local disk for shards that have been read, shared by all ranks on that machine;
    none: no cache."""
    cache_bytes: Annotated[int, OPERATIONAL] = Field(default=20 * 2**30, ge=1)
    """Size that the folder may grow to; the shards not used for longest are deleted first."""
