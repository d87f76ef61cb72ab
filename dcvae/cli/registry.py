"""Verbs about a registry: versions of a model, the champion, and why it leads."""

from dataclasses import asdict
from typing import Annotated

import typer

from dcvae.cli.show import Json, say, say_json, say_table
from dcvae.errors import UserError

Catalogue = Annotated[
    str | None,
    typer.Option(help="Registry to show it in too: kubeflow or mlflow; default: DCVAE_REGISTRY."),
]
Registered = Annotated[
    str, typer.Argument(help="A registered model, such as s3://bucket/models/digits.")
]


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(register)
    app.command()(promote)
    app.command()(models)
    app.command()(history)


def register(
    snapshot: Annotated[str, typer.Argument(help="The snapshot to register.")],
    evaluation: Annotated[str, typer.Option(help="Folder of its evaluation.json.")],
    registry: Annotated[str, typer.Option(help="Folder or s3:// prefix of the registry.")],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    maximum: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help="Highest value for a champion; may be repeated."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="The evaluation's shard set, to measure an older champion on it."),
    ] = None,
    lineage: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="More about its origin; may be repeated."),
    ] = None,
    catalogue: Catalogue = None,
    as_json: Json = False,
) -> None:
    """Register a model; it becomes the champion if it passes the gate.

    The gate: no metric above its maximum, and none worse than the present champion's.

    ```
    dcvae register run/snapshots/000000040000 --evaluation ./evaluation \\
        --registry ./models --name digits --maximum pixel_distance=0.1
    ```
    """
    from dcvae.promotion import register as add
    from dcvae.registry import open_catalogue

    thresholds = dict(_threshold(text) for text in maximum or [])
    origin = dict(_pair(text) for text in lineage or [])
    result = add(
        *(snapshot, evaluation, registry, name, thresholds, origin, data),
        open_catalogue(catalogue),
    )
    if as_json:
        say_json(asdict(result))
        return
    say(f"{result.uri} is version {result.version} of {name}")
    before = f"version {result.previous} before" if result.previous else "none before"
    say(f"{'champion' if result.champion else 'not champion'} ({before}): {result.reason}")


def promote(
    model: Annotated[str, typer.Argument(help="The version, such as s3://bucket/models/digits@3.")],
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "promoted by hand",
    catalogue: Catalogue = None,
    as_json: Json = False,
) -> None:
    """Make a version the champion, whatever the gate said; it may be an earlier one.

    ```
    dcvae promote s3://bucket/models/digits@3 --reason "version 4 draws sevens only"
    ```
    """
    from dcvae.registry import history as decisions
    from dcvae.registry import open_catalogue, split_alias
    from dcvae.registry import promote as lead

    place, number = split_alias(model)
    if not number.isdecimal():
        raise UserError(f"{model} names no version; write its number behind it: {place}@1")
    registry, name = _split(place)
    before = [event for event in decisions(registry, name) if event.moved]
    state = lead(registry, name, int(number), reason, open_catalogue(catalogue))
    previous = before[-1].version if before else None
    if as_json:
        say_json({"model": place, "champion": state.version, "previous": previous})
        return
    if previous == state.version:
        say(f"{place}: version {number} is the champion already")
        return
    was = f"was version {previous}" if previous else "was none"
    say(f"{place}: the champion is version {number}, {was}")


def models(
    place: Annotated[
        str, typer.Argument(metavar="REGISTRY", help="A registry, or one model of it.")
    ],
    as_json: Json = False,
) -> None:
    """List the models of a registry, or the versions of one model with their measures.

    ```
    dcvae models s3://bucket/models
    dcvae models s3://bucket/models/digits
    ```
    """
    from dcvae.registry import list_models

    found = list_models(place)
    if found:
        if as_json:
            say_json([asdict(each) for each in found])
            return
        rows = [[each.name, each.versions, each.champion] for each in found]
        say_table([["model", "versions", "champion"], *rows])
        return
    _versions(place, as_json)


def history(model: Registered, as_json: Json = False) -> None:
    """Show every decision about a model's champion, oldest first.

    ```
    dcvae history s3://bucket/models/digits
    ```
    """
    from dcvae.registry import history as decisions

    registry, name = _split(model)
    events = decisions(registry, name)
    if not events:
        raise UserError(f"nothing was decided about {model}: there is no such model, or no version")
    if as_json:
        say_json([event.model_dump(mode="json") for event in events])
        return
    rows = [
        [e.at, e.by, e.version, "leads" if e.moved else "does not lead", e.previous, e.reason]
        for e in events
    ]
    say_table([["when", "by", "version", "decision", "before", "reason"], *rows])


def _versions(model: str, as_json: bool) -> None:
    """The versions of one model, and how they differ."""
    from dcvae.registry import history as decisions
    from dcvae.registry import list_versions

    registry, name = _split(model)
    versions = list_versions(registry, name)
    if not versions:
        raise UserError(f"there are no models at {model}; name a registry or a registered model")
    moves = [event.version for event in decisions(registry, name) if event.moved]
    champion = moves[-1] if moves else None
    if as_json:
        say_json(
            [
                {**each.model_dump(mode="json"), "champion": each.version == champion}
                for each in versions
            ]
        )
        return
    measures = list(dict.fromkeys(m for v in versions for m in v.evaluation.metrics))
    for each in versions:
        leads = " (champion)" if each.version == champion else ""
        seen = each.evaluation.snapshot
        how = f"{seen.preset}, {seen.images:,} images, {each.created_at}"
        say(f"version {each.version}{leads}: {how}")
    print()
    rows = []
    for measure in measures:
        values = (v.evaluation.values().get(measure) for v in versions)
        rows.append([measure, *(None if value is None else f"{value:.4g}" for value in values)])
    say_table([["measure", *(f"@{v.version}" for v in versions)], *rows])
    protocols = {v.evaluation.comparable() for v in versions}
    if len(protocols) > 1:
        say(
            "by different protocols or on different data: only those can be compared that dcvae "
            "compare takes"
        )


def _split(model: str) -> tuple[str, str]:
    """Registry and name of a registered model's URI."""
    registry, _, name = model.rstrip("/").rpartition("/")
    return registry or ".", name


def _threshold(text: str) -> tuple[str, float]:
    metric, _, value = text.partition("=")
    try:
        return metric, float(value)
    except ValueError:
        raise UserError(f"--maximum {text} is not of the form METRIC=NUMBER") from None


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UserError(f"--lineage {text} is not of the form KEY=VALUE")
    return key, value
