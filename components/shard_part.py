"""Step: one of several equal parts of the work of cutting images into shards."""

from components.base import step


@step
def shard_part(
    part: int,
    parts: int,
    source: str,
    storage: str,
    name: str,
    resolution: int,
    channels: int,
    held_out: float,
) -> int:
    """Cut every so-manieth shard of a shard set; the step shard then finds all of them made.

    Args:
        part: number of this part, from 0.
        parts: how many parts there are; any number of them may run at once.
        source: as of the step shard.
        storage: as of the step shard.
        name: as of the step shard.
        resolution: as of the step shard.
        channels: as of the step shard.
        held_out: as of the step shard.

    Returns:
        Number of images in the shards of this part.
    """
    from dcvae.launch.pipeline_step import running_step
    from dcvae.places import data_uri
    from dcvae.sharding.shard import shard_part as write_part

    with running_step() as report:
        images = write_part(
            int(part),
            int(parts),
            source,
            data_uri(storage, name, int(resolution)),
            resolution=int(resolution),
            channels=int(channels),
            name=name,
            test=held_out,
            progress=report,
        )
        print(f"part {int(part) + 1} of {int(parts)}: {images:,} images")
    return images
