"""Verbs about how good models are: an evaluation of one, a comparison of several."""

import os
from pathlib import Path
from typing import Annotated

import typer

from dcvae.cli.show import Json, progress_shown, say, say_json, say_table
from dcvae.errors import UserError


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(evaluate)
    app.command()(compare)


def evaluate(
    snapshot: Annotated[
        str, typer.Argument(help="A run, one of its snapshots, or a model of a registry.")
    ],
    data: Annotated[str, typer.Option(help="The shard set.")],
    out: Annotated[str, typer.Option(help="Folder or s3:// prefix for the result.")],
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME[,FIELD=VALUE…]",
            help="How to measure: paper or held-out, with changes; default: the preset's.",
        ),
    ] = "",
    last: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many of the run's last snapshots to choose from; 5 for a run, else 1."
        ),
    ] = None,
    select_by: Annotated[
        str | None,
        typer.Option(help="Metric to choose by, on 10,000 images; frechet_sampling by default."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Path or URI of Inception's weights, which are then used.")
    ] = None,
    perceptual_weights: Annotated[
        str | None, typer.Option(help="Path or URI of the perceptual network's weights.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Where to keep statistics of real images; default: your cache."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to compute; by default a GPU, if there is one.")
    ] = None,
    extractor: Annotated[str | None, typer.Option(help="Change the protocol's extractor.")] = None,
    samples: Annotated[int | None, typer.Option(help="Change its samples from the prior.")] = None,
    split: Annotated[str | None, typer.Option(help="Change both of its splits.")] = None,
    seed: Annotated[int | None, typer.Option(help="Change its seed.")] = None,
    latent_clamp: Annotated[float | None, typer.Option(help="Clamp latents to ± this.")] = None,
    perceptual: Annotated[
        str | None, typer.Option(help="Network for perceptual metrics: vgg16 or vgg16-hed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a model, or the best of a run, and write evaluation.json and report.html.

    ```
    dcvae evaluate run --data ./digits --out ./evaluation
    dcvae evaluate run/snapshots/000000040000 --data ./digits --out ./evaluation \\
        --protocol held-out,samples=5000
    ```

    The same command again goes on where it was stopped, and repeats nothing that is done.
    """
    from dcvae.evaluation import evaluate as measure
    from dcvae.evaluation import protocol_for
    from dcvae.evaluation.results import REPORT
    from dcvae.presets import LAST, SELECT_BY
    from dcvae.registry import resolve
    from dcvae.report import write_report
    from dcvae.run_folder import is_run
    from dcvae.storage import join

    changes = {
        "extractor": extractor,
        "samples": samples,
        "reference_split": split,
        "reconstructed_split": split,
        "seed": seed,
        "latent_clamp": latent_clamp,
        "perceptual": perceptual,
    }
    whole_run = is_run(snapshot)
    model = snapshot if whole_run else resolve(snapshot)
    asked = protocol_for(model, protocol, weights).changed(
        **{name: value for name, value in changes.items() if value is not None}
    )
    stopped = f"what is measured so far is safe in {out}; the same command goes on from there"
    with progress_shown(stopped) as report:
        result = measure(
            model,
            data,
            out,
            reference or _cache(),
            write_report,
            protocol=asked,
            last=last or (LAST if whole_run else 1),
            select_by=select_by or SELECT_BY,
            progress=report,
            weights=weights,
            perceptual_weights=perceptual_weights,
            device=device,
        )
    if as_json:
        say_json(result.model_dump(mode="json"))
        return
    for line in result.lines():
        say(line)
    say(f"report: {join(out, REPORT)}")


def _cache() -> str | None:
    """Folder for statistics of real images, shared by all evaluations of this user.

    None if there is no writable home, as in a container; they are then computed each time.
    """
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "dcvae" / "reference"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


def compare(
    models: Annotated[
        list[str],
        typer.Argument(metavar="EVALUATION...", help="Evaluations or registered models."),
    ],
    out: Annotated[
        str | None, typer.Option(help="Folder or s3:// prefix for a page with pictures.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Column names in the same order; may be repeated."),
    ] = None,
    title: Annotated[str, typer.Option(help="Headline of the page.")] = "Comparison",
    as_json: Json = False,
) -> None:
    """Put evaluations side by side: a table and, with --out, a page with pictures.

    Only evaluations by the same protocol can be compared: same images, splits, sizes and extractor.

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
