"""Verbs that use a model: new images, and images through the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcvae.cli.show import MOST_IMAGES, MOST_SEED, Json, check_picture, say, say_json
from dcvae.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from dcvae.inference import Model as Loaded

_SIDE = 64  # side of a tile in pixels, if images are smaller

Model = Annotated[
    str, typer.Argument(help="A snapshot, a registered model or one of its versions.")
]
Out = Annotated[Path, typer.Option(help="PNG file to write.")]


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(sample)
    app.command()(reconstruct)
    app.command()(export)


def sample(
    model: Model,
    out: Out,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=MOST_IMAGES, help="Images to make.")
    ] = 64,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Equal seeds give equal images.")
    ] = 0,
) -> None:
    """Make new images and write them as one picture.

    ```
    dcvae sample s3://bucket/models/digits --out new.png
    dcvae sample run/snapshots/000000040000 --out new.png -n 16 --seed 7
    ```
    """
    check_picture(out)
    import dcvae

    images = dcvae.load(model).sample(count, seed=seed)
    write_sheet(images, out, columns=max(1, round(count**0.5)))


def reconstruct(
    model: Model,
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    out: Out,
) -> None:
    """Send images through a model; the picture shows each beside its reconstruction.

    ```
    dcvae reconstruct s3://bucket/models/digits four.png seven.png --out pairs.png
    ```
    """
    check_picture(out)
    import dcvae
    from dcvae.pictures import pairs

    check_images(images)
    loaded = dcvae.load(model)
    inputs = read_images(images, loaded)
    write_sheet(
        pairs(inputs, loaded.reconstruct(inputs)),
        out,
        columns=2 * max(1, round(len(images) ** 0.5)),
    )


def export(
    model: Model,
    out: Annotated[str, typer.Option(help="Folder or s3:// prefix for the programs.")],
    dtype: Annotated[
        str, typer.Option(help="What they compute in: float32, bfloat16 or float16.")
    ] = "float32",
    device: Annotated[str, typer.Option(help="Where they compute: cpu or cuda.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Write encoder and decoder as programs that need only PyTorch (torch.export).

    ```
    dcvae export s3://bucket/models/digits@champion --out ./digits-pytorch
    ```

    A README.md beside them has shapes and ranges, and says how to load them.
    """
    import torch

    import dcvae
    from dcvae.inference.export import export as write
    from dcvae.storage import join, open_storage

    kinds = {kind: getattr(torch, kind) for kind in ("float32", "bfloat16", "float16")}
    if dtype not in kinds:
        raise UserError(f"--dtype {dtype} is not possible; use one of: {', '.join(kinds)}")
    place = open_storage(out)
    about = write(dcvae.load(model, device, kinds[dtype]).network, place)
    if as_json:
        say_json(about)
        return
    for name in about["sha256"]:
        say(join(out, name))


def check_images(paths: Sequence[Path]) -> None:
    """Refuse missing files before a model is loaded."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"there is no image file {missing[0]}")


def read_images(paths: Sequence[Path], model: "Loaded") -> "Tensor":
    """The images in the model's form: [N, C, r, r] in [-1, 1]."""
    import torch

    return torch.stack([_read(path, model) for path in paths])


def _read(path: Path, model: "Loaded") -> "Tensor":
    """The image in the model's form: [C, r, r] in [-1, 1]."""
    import torch

    from dcvae.pictures import to_float
    from dcvae.sharding.decoding import decode, to_square
    from dcvae.shards.encodings import BadImage

    try:
        image = decode(path.read_bytes(), model.resolution)
        pixels = to_square(image, model.resolution, model.config.model.channels)
    except BadImage as error:
        raise UserError(f"{path} cannot be used: {error}") from None
    return to_float(torch.tensor(pixels).permute(2, 0, 1))


def write_sheet(images: "Tensor", out: Path, columns: int) -> None:
    """Write ``images`` [N, C, r, r] in [-1, 1] as one PNG file, and print its name."""
    from dcvae.pictures import png, sheet

    out.write_bytes(png(sheet(images, columns, max(_SIDE, images.shape[-1]))))
    say(out)
