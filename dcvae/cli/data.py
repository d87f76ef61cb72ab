"""Verbs about shard sets."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from dcvae.cli.show import (
    MOST_IMAGES,
    MOST_SEED,
    Json,
    check_picture,
    finite,
    progress_shown,
    say,
    say_json,
    usage,
)
from dcvae.errors import UserError

Folders = Literal["auto", "folders", "none"]


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(shard)
    app.command()(inspect)


def shard(
    source: Annotated[str, typer.Argument(help="Where the images are.")],
    dest: Annotated[str, typer.Argument(help="Folder or s3:// prefix for the shard set.")],
    resolution: Annotated[
        int, typer.Option(help="Side of the largest images in pixels, a power of two.")
    ],
    min_resolution: Annotated[int, typer.Option(help="Side of the smallest images.")] = 4,
    channels: Annotated[
        int | None, typer.Option(help="1 (grey) or 3 (RGB); the source's by default.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    max_bad_fraction: Annotated[
        float,
        typer.Option(
            min=0, max=1, callback=finite, help="Fail if more than this share is unusable."
        ),
    ] = 0.01,
    test: Annotated[
        float,
        typer.Option(
            min=0,
            callback=finite,
            help="Share or number of images to hold out if there is no test split; 0 for none.",
        ),
    ] = 0.1,
    splits: Annotated[
        Folders,
        typer.Option(help="Are folders called train, test etc. splits? auto asks if unclear."),
    ] = "auto",
    classes: Annotated[
        Folders, typer.Option(help="Are folders classes? auto asks if unclear.")
    ] = "auto",
    labels: Annotated[
        str | None,
        typer.Option(help="CSV or JSON file of labels; a table's column; a suffix in tars."),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Column or suffix of the image, if there are several.")
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links that lead out of a folder.")
    ] = False,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="PNG instead of JPEG from 256 pixels up.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=1024, help="Processes that decode and resize.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Make a shard set, which trainings read, of images at every size up to the resolution.

    SOURCE is a folder, a zip file, an s3:// prefix, webdataset:TARS, parquet:TABLES, idx:FOLDER,
    sklearn:digits, or torchvision:CIFAR10, :STL10, :CelebA, :LSUN/bedroom, :MNIST, :FashionMNIST.
    Images of several classes are in one folder per class, or have a file of labels (--labels).

    The same command continues where it was stopped, and writes nothing if everything is there.

    ```
    dcvae shard photos/ s3://bucket/photos --resolution 128
    dcvae shard sklearn:digits ./digits --resolution 16
    dcvae shard 'webdataset:s3://bucket/flowers-{000..099}.tar' ./flowers --resolution 64
    ```
    """
    from dcvae.sharding.shard import shard as write_shards
    from dcvae.shards.inspection import counts, table

    stopped = f"finished shards are safe in {dest}; the same command goes on from there"
    with progress_shown(stopped) as report:
        manifest = write_shards(
            source,
            dest,
            resolution=resolution,
            min_resolution=min_resolution,
            channels=channels,
            name=name,
            max_bad_fraction=max_bad_fraction,
            test=test,
            splits=splits,
            classes=classes,
            labels=labels,
            image=image,
            follow_links=follow_links,
            lossless=lossless,
            workers=workers,
            progress=report,
        )
    if as_json:
        say_json(manifest.model_dump(mode="json"))
        return
    say(f"{dest} holds {manifest.name}: {counts(manifest)}\n\n{table(manifest)}")


_SAID_ELSEWHERE = ("source", "dest", "resolution", "min_resolution", "channels", "name", "test")
"""What a pipeline's form says by other parameters: its preset says the sizes."""


def read_shard_options(text: str) -> dict[str, Any]:
    """Keyword arguments of a sharding from options written as behind ``dcvae shard``.

    For the form of a pipeline: what a sentence of the sharding advises works there as it stands.

    Raises:
        UserError: it cannot be read, or names no option that a form leaves open.
    """
    alone = typer.Typer(add_completion=False)
    alone.command()(shard)
    verb = get_command(alone)
    verb.add_help_option = False
    verb.params = [p for p in verb.params if p.name not in (*_SAID_ELSEWHERE, "as_json")]
    try:
        context = verb.make_context("shard_options", shlex.split(text))
    except ValueError as error:
        raise UserError(f"shard_options {text!r} cannot be read: {error}") from None
    except TyperException as error:
        names = ", ".join(parameter.opts[0] for parameter in verb.params)
        raise UserError(
            f"shard_options {text!r}: {usage(error)}; of dcvae shard's options it takes {names}"
        ) from None
    return dict(context.params)


def inspect(
    uri: Annotated[str, typer.Argument(help="The shard set: a folder or s3:// prefix.")],
    out: Annotated[
        Path | None, typer.Option(help="PNG file for random images; none by default.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to show; the first one.")] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Size to look at; the largest up to 128 by default.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", "-n", min=1, max=MOST_IMAGES, help="Random images.")
    ] = 64,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Another seed, other images.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Show what a shard set holds: a table and, with --out, random images as a PNG file.

    ```
    dcvae inspect ./digits
    dcvae inspect s3://bucket/photos --out photos.png
    dcvae inspect ./digits --out digits.png --split test --resolution 16 -n 16
    ```
    """
    from dcvae.pictures import png
    from dcvae.shards.inspection import contact_sheet, table
    from dcvae.shards.manifest import load_manifest
    from dcvae.storage import open_storage

    if out is not None:
        check_picture(out)
    storage = open_storage(uri)
    manifest = load_manifest(storage)
    size = resolution or max((r for r in manifest.resolutions if r <= 128), default=None)
    looked_at = (split or next(iter(manifest.splits)), size or manifest.resolutions[0])
    manifest.shards(*looked_at)  # refuses before anything is written
    if out is not None:
        out.write_bytes(png(contact_sheet(storage, manifest, *looked_at, samples, seed)))
    if as_json:
        say_json(manifest.model_dump(mode="json"))
        return
    say(table(manifest) + (f"\n\n{out}" if out else ""))
