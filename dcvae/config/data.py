"""How the shard set is read."""

from typing import Annotated

from pydantic import Field

from dcvae.config.section import OPERATIONAL, Section


class DataConfig(Section):
    """How the shard set is read."""

    split: str = Field(default="train", min_length=1)
    """The split of the shard set to train on."""
    lanes: int = Field(default=8, ge=1)
    """Places in an epoch that are read in parallel; they decide the order, so the result too."""
    workers: Annotated[int, OPERATIONAL] = Field(default=2, ge=1)
    """Threads that fetch and decode ahead of each rank."""
    cache_dir: Annotated[str | None, OPERATIONAL] = Field(default=None, min_length=1)
    """Folder on a local disk that caches shards for all ranks on that machine; none: no cache."""
    cache_bytes: Annotated[int, OPERATIONAL] = Field(default=20 * 2**30, ge=1)
    """Largest size of the cache; the least recently used shards are deleted first."""
