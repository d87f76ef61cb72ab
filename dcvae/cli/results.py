"""Verbs about what came out of a training: its evaluation and its place in the registry."""

from typing import Annotated

import typer

from dcvae.cli.show import progress_shown, say
from dcvae.errors import UserError


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(evaluate)
    app.command()(register)


def evaluate(
    snapshot: Annotated[str, typer.Argument(help="A snapshot, or a model of a registry.")],
    data: Annotated[str, typer.Option(help="The shard set.")],
    out: Annotated[str, typer.Option(help="Folder or s3:// prefix for the result.")],
    extractor: Annotated[
        str, typer.Option(help="Network whose features are compared.")
    ] = "efficientnet-lite0",
    samples: Annotated[
        int | None, typer.Option(help="Images a distance; as many as the split has by default.")
    ] = None,
    split: Annotated[str, typer.Option(help="Real images to compare with.")] = "test",
    seed: Annotated[int, typer.Option(help="Seed of the latents.")] = 0,
    weights: Annotated[str | None, typer.Option(help="Path or URI of Inception's weights.")] = None,
    latent_clamp: Annotated[
        float | None,
        typer.Option(help="Clamp latents to ± this; the authors' code: 1."),
    ] = None,
    perceptual: Annotated[
        str | None,
        typer.Option(help="vgg16 or vgg16-hed: perceptual measures too."),
    ] = None,
    perceptual_weights: Annotated[
        str | None, typer.Option(help="Path or URI of that network's weights.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Keep the real images' features in this folder, for the next model."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to compute; a GPU, if there is one, by default.")
    ] = None,
) -> None:
    """Measure a model and write evaluation.json and report.html.

    ```
    dcvae evaluate run/snapshots/000000040000 --data ./digits --out ./evaluation
    ```
    """
    from dcvae.evaluation import evaluate as measure
    from dcvae.registry import resolve
    from dcvae.report import write_report

    stopped = f"{out} has no new evaluation; the same command begins it again"
    with progress_shown(stopped) as report:
        result = measure(
            resolve(snapshot),
            data,
            out,
            reference,
            write_report,
            extractor=extractor,
            samples=samples,
            split=split,
            seed=seed,
            progress=report,
            weights=weights,
            latent_clamp=latent_clamp,
            perceptual=perceptual,
            perceptual_weights=perceptual_weights,
            device=device,
        )
    for line in result.lines():
        say(line)


def register(
    snapshot: Annotated[str, typer.Argument(help="The snapshot to register.")],
    evaluation: Annotated[str, typer.Option(help="Folder of its evaluation.json.")],
    registry: Annotated[str, typer.Option(help="Folder or s3:// prefix of the registry.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    maximum: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help="Refuse the champion's place above this value."),
    ] = None,
) -> None:
    """Register a model; it becomes the champion if it passes the gate.

    The gate: no metric above its maximum, and none worse than the present champion's.

    ```
    dcvae register run/snapshots/000000040000 --evaluation ./evaluation \\
        --registry ./models --name digits --maximum pixel_distance=0.1
    ```
    """
    from dcvae.promotion import register as add

    thresholds = dict(_threshold(text) for text in maximum or [])
    result = add(snapshot, evaluation, registry, name, thresholds, {})
    say(f"{result.uri} is version {result.version} of {name}")
    say(f"{'champion' if result.champion else 'not champion'}: {result.reason}")


def _threshold(text: str) -> tuple[str, float]:
    metric, _, value = text.partition("=")
    try:
        return metric, float(value)
    except ValueError:
        raise UserError(f"--maximum {text} is not of the form METRIC=NUMBER") from None
