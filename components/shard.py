"""Step: make a shard set of images."""

from typing import List  # noqa: UP035 - the step's source is run behind `from typing import *`

from kfp.dsl import Dataset, Output

from components.base import step


@step
def shard(
    source: str,
    storage: str,
    name: str,
    preset: str,
    settings: List[str],  # noqa: UP006
    held_out: float,
    manifest: Output[Dataset],
    shard_options: str = "",
    made: List[int] = [],  # noqa: B006, UP006
) -> str:
    """Make a shard set below the storage root; writes nothing if everything is there.

    Args:
        source: a folder, zip file, s3:// prefix, or webdataset:, parquet:, idx:, torchvision:,
            sklearn: data set; see docs/data.md.
        storage: root for everything the pipeline writes, such as s3://bucket/prefix.
        name: name of the data set.
        preset: name of the configuration that determines resolution and channels.
        settings: changes to it, each as section.key=value.
        held_out: number or fraction of images for testing, if the source has no test split.
        manifest: the shard set's manifest.
        shard_options: how to understand the source, as options of ``dcvae shard``.
        made: number of images that each part has made, if the work was divided into parts.

    Returns:
        URI of the shard set.
    """
    from pathlib import Path

    from dcvae.cli.data import read_shard_options
    from dcvae.launch.pipeline_step import running_step
    from dcvae.places import data_uri
    from dcvae.presets import configure
    from dcvae.sharding.shard import shard as write_shards
    from dcvae.shards.inspection import summary
    from dcvae.storage import open_storage

    with running_step() as say:
        model = configure(preset, settings).model
        uri = data_uri(storage, name, model.resolution)
        more = {"name": name, "test": held_out, **read_shard_options(shard_options)}
        written = write_shards(
            source, uri, resolution=model.resolution, channels=model.channels, progress=say, **more
        )
        print(f"{uri}{f' from {len(made)} parts' if made else ''} holds {summary(written)}")
        Path(manifest.path).write_bytes(open_storage(uri).read("manifest.json"))
        manifest.metadata = {"shard set": uri, "fingerprint": written.fingerprint}
    return uri
