"""Step: one of several equal parts of making a shard set."""

from typing import List  # noqa: UP035 - the step's source is run behind `from typing import *`

from components.base import step


@step
def shard_part(
    part: int,
    parts: int,
    source: str,
    storage: str,
    name: str,
    preset: str,
    settings: List[str],  # noqa: UP006
    held_out: float,
    shard_options: str = "",
) -> int:
    """Make this part's share of a shard set; the step shard then finds all shards made.

    Args:
        part: number of this part, from 0.
        parts: how many parts there are; any number of them may run at once.
        source: as of the step shard.
        storage: as of the step shard.
        name: as of the step shard.
        preset: as of the step shard.
        settings: as of the step shard.
        held_out: as of the step shard.
        shard_options: as of the step shard.

    Returns:
        Number of images in the shards of this part.
    """
    from dcvae.cli.data import read_shard_options
    from dcvae.launch.pipeline_step import running_step
    from dcvae.places import data_uri
    from dcvae.presets import configure
    from dcvae.sharding.shard import shard_part as write_part

    with running_step() as say:
        model = configure(preset, settings).model
        images = write_part(
            int(part),
            int(parts),
            source,
            data_uri(storage, name, model.resolution),
            resolution=model.resolution,
            channels=model.channels,
            name=name,
            test=held_out,
            progress=say,
            **read_shard_options(shard_options),
        )
        print(f"part {int(part) + 1} of {int(parts)}: {images:,} images")
    return images
