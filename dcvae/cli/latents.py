"""Verbs that move through the latent space: the paper's Figures 5, 6 and 10 for your own images."""

from pathlib import Path
from typing import Annotated

import typer

from dcvae.cli.models import Model, Out, check_images, read_images, write_sheet
from dcvae.cli.show import MOST_SEED, check_picture, finite
from dcvae.errors import UserError

Image = Annotated[Path, typer.Argument(help="An image file.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(interpolate)
    app.command()(mix)
    app.command()(edit)


def interpolate(
    model: Model,
    start: Image,
    end: Image,
    out: Out,
    steps: Annotated[
        int, typer.Option(min=2, max=1_000, help="Images in the row, ends included.")
    ] = 9,
) -> None:
    """Go from one image to another in equal steps (Figure 5).

    ```
    dcvae interpolate s3://bucket/models/faces ann.jpg ben.jpg --out walk.png
    ```
    """
    check_picture(out)
    check_images([start, end])
    import dcvae
    from dcvae import latent

    loaded = dcvae.load(model)
    ends = read_images([start, end], loaded)
    row = latent.interpolate(loaded, ends[:1], ends[1:], steps)
    write_sheet(row.flatten(0, 1), out, columns=steps)


def mix(
    model: Model,
    out: Out,
    row: Annotated[list[Path], typer.Option(help="An image that heads a row; may be repeated.")],
    column: Annotated[
        list[Path], typer.Option(help="An image that heads a column; may be repeated.")
    ],
    fraction: Annotated[
        float,
        typer.Option(
            min=0, max=1, callback=finite, help="Share of the latent taken from the column."
        ),
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Which part.")] = 0,
) -> None:
    """Mix latents: each row's image with a random part of each column's (Figure 10).

    ```
    dcvae mix s3://bucket/models/faces --row ann.jpg --row ben.jpg --column eve.jpg --out grid.png
    ```
    """
    check_picture(out)
    check_images([*row, *column])
    import dcvae
    from dcvae import latent
    from dcvae.pictures import crossed

    loaded = dcvae.load(model)
    rows, columns = read_images(row, loaded), read_images(column, loaded)
    grid = latent.mix(loaded, rows, columns, fraction, seed)
    write_sheet(crossed(rows, columns, grid), out, columns=1 + len(column))


def edit(
    model: Model,
    images: Annotated[list[Path], typer.Argument(help="Image files to edit.")],
    out: Out,
    having: Annotated[
        Path, typer.Option("--with", help="Folder of images with the attribute; 20 are enough.")
    ],
    lacking: Annotated[
        Path, typer.Option("--without", help="Folder of images without the attribute.")
    ],
    strength: Annotated[
        list[float] | None,
        typer.Option(
            callback=finite, help="How far to go; below 0, away from it; may be repeated."
        ),
    ] = None,
) -> None:
    """Move images along an attribute that labelled examples show (Figure 6, A.2).

    ```
    dcvae edit s3://bucket/models/faces ann.jpg --with smiling/ --without serious/ --out smile.png
    ```

    Each row shows one image at the strengths -1, -0.5, 0, 0.5 and 1, or those of --strength.
    """
    check_picture(out)
    check_images(images)
    examples = [_files(having), _files(lacking)]
    import dcvae
    from dcvae import latent

    loaded = dcvae.load(model)
    direction = latent.attribute_direction(loaded, *(read_images(e, loaded) for e in examples))
    strengths = strength or [-1.0, -0.5, 0.0, 0.5, 1.0]
    edited = latent.edit(loaded, read_images(images, loaded), direction, strengths)
    write_sheet(edited.flatten(0, 1), out, columns=len(strengths))


def _files(folder: Path) -> list[Path]:
    """The pictures of an example folder, by name; other files are skipped."""
    from dcvae.sharding.sources.kinds import is_picture

    try:
        found = sorted(path for path in folder.iterdir() if path.is_file() and is_picture(path))
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}") from None
    if not found:
        raise UserError(f"{folder} has no pictures; name a folder of example images")
    return found
