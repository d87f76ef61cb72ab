"""Verbs about shard sets."""

from typing import Annotated

import typer

from dcvae.cli.show import progress_shown


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(shard)


def shard(
    source: Annotated[str, typer.Argument(help="Where the images are.")],
    dest: Annotated[str, typer.Argument(help="Folder or s3:// prefix for the shard set.")],
    resolution: Annotated[
        int, typer.Option(help="Side of the largest images in pixels, a power of two.")
    ],
    min_resolution: Annotated[int, typer.Option(help="Side of the smallest.")] = 4,
    channels: Annotated[
        int | None, typer.Option(help="1 (grey) or 3 (RGB); as the source by default.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    max_bad_fraction: Annotated[
        float, typer.Option(help="Fail when more than this part of the images is unusable.")
    ] = 0.01,
    test: Annotated[
        float, typer.Option(help="Part held out for testing where the source has no test split.")
    ] = 0.1,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="PNG instead of JPEG from 256 pixels up.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes that decode and resize.")] = 1,
) -> None:
    """Cut images into a shard set that trainings read, at every size up to the resolution.

    SOURCE is a folder, a zip file, an s3:// prefix, or one of sklearn:digits, idx:FOLDER and
    torchvision:CIFAR10, :STL10, :CelebA, :LSUN/bedroom, :MNIST, :FashionMNIST.

    The same command continues where it was stopped, and writes nothing when all is there.

    ```
    dcvae shard photos/ s3://bucket/photos --resolution 128
    dcvae shard sklearn:digits ./digits --resolution 16
    ```
    """
    from dcvae.data.shard import shard as write_shards

    with progress_shown() as report:
        manifest = write_shards(
            source,
            dest,
            resolution=resolution,
            min_resolution=min_resolution,
            channels=channels,
            name=name,
            max_bad_fraction=max_bad_fraction,
            test=test,
            lossless=lossless,
            workers=workers,
            progress=report,
        )
    samples = ", ".join(f"{manifest.samples(split):,} {split}" for split in manifest.splits)
    print(f"{dest} holds {manifest.name}: {samples} (fingerprint {manifest.fingerprint[:8]})")
    if manifest.skipped:
        print(f"{len(manifest.skipped)} images were skipped; the manifest says which and why")
