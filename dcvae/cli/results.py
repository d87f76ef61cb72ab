"""Verbs about how good models are: an evaluation of one, a comparison of several."""

from pathlib import Path
from typing import Annotated

import typer

from dcvae.cli.show import MOST_SEED, Json, finite, progress_shown, say, say_json, say_table
from dcvae.errors import UserError


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(evaluate)
    app.command()(compare)


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
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the latents.")] = 0,
    weights: Annotated[str | None, typer.Option(help="Path or URI of Inception's weights.")] = None,
    latent_clamp: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, help="Clamp latents to ± this; authors' code: 1."),
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
    as_json: Json = False,
) -> None:
    """Measure a model and write evaluation.json and report.html.

    ```
    dcvae evaluate run/snapshots/000000040000 --data ./digits --out ./evaluation
    ```
    """
    from dcvae.evaluation import evaluate as measure
    from dcvae.evaluation.results import REPORT
    from dcvae.registry import resolve
    from dcvae.report import write_report
    from dcvae.storage import join

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
    if as_json:
        say_json(result.model_dump(mode="json"))
        return
    for line in result.lines():
        say(line)
    say(f"report: {join(out, REPORT)}")


def compare(
    models: Annotated[
        list[str],
        typer.Argument(metavar="EVALUATION...", help="Evaluations or registered models."),
    ],
    out: Annotated[
        str | None, typer.Option(help="Folder or s3:// prefix for a page with pictures.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Name of a column; repeat, in the same order.")
    ] = None,
    title: Annotated[str, typer.Option(help="Headline of the page.")] = "Comparison",
    as_json: Json = False,
) -> None:
    """Put evaluations side by side: a table, and with --out a page with pictures.

    Only evaluations by one protocol can be compared: same images, split, sizes and extractor.

    ```
    dcvae compare s3://bucket/models/digits@1 s3://bucket/models/digits@champion
    dcvae compare ./evaluation-a ./evaluation-b --label small --label large --out ./comparison
    ```
    """
    from dcvae.report.comparison import PAGE, compare_evaluations, tabulate
    from dcvae.storage import join

    named = zip(_labels(models, label), models, strict=True)
    places = {name: _evaluation(uri) for name, uri in named}
    table = compare_evaluations(places, out, title) if out else tabulate(places)
    if as_json:
        say_json(table)
        return
    rows = [
        [metric, *(f"{row[name]:.4g}" if name in row else None for name in places)]
        for metric, row in table.items()
    ]
    say_table([["measure", *places], *rows])
    if out is not None:
        say(f"page: {join(out, PAGE)}")


def _labels(models: list[str], given: list[str] | None) -> list[str]:
    labels = given or [Path(uri.rstrip("/")).name for uri in models]
    if given and len(given) != len(models):
        raise UserError(f"{len(models)} evaluations have {len(given)} labels; give each its own")
    if len(set(labels)) < len(labels):
        if given:
            raise UserError("two labels are the same; give each evaluation its own with --label")
        return models if len(set(models)) == len(models) else _same(models)
    return labels


def _same(models: list[str]) -> list[str]:
    twice = next(uri for uri in models if models.count(uri) > 1)
    raise UserError(f"{twice} is named twice; compare it with another")


def _evaluation(uri: str) -> str:
    """The folder with the evaluation: itself, or the content of a registered version."""
    from dcvae.evaluation.results import RESULT
    from dcvae.registry import resolve
    from dcvae.storage import open_storage

    return uri if open_storage(uri).stat(RESULT) else resolve(uri)
