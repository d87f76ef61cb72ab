"""Verbs about trainings."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dcvae.cli.show import Json, say, say_json, say_table, training_shown

if TYPE_CHECKING:
    from dcvae.config import Config


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(train)
    app.command()(presets)


def train(
    preset: Annotated[
        str,
        typer.Option(
            help="A named configuration; see dcvae presets.",
            autocompletion=lambda incomplete: _beginning(incomplete),
        ),
    ],
    data: Annotated[str, typer.Option(help="The shard set.")],
    out: Annotated[str, typer.Option(help="Folder or s3:// prefix of the run.")],
    nproc: Annotated[
        int | None, typer.Option(help="Processes that share the work; one per GPU by default.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check, print settings, sizes and schedule, and stop."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model; the same command again resumes at its latest checkpoint.

    ```
    dcvae train --preset digits --data ./digits --out ./run --nproc 2
    dcvae train --preset celebahq512 --data s3://faces/512 --out s3://runs/1 \\
        --set training.seed=1 --set objective.method=vae_gan
    ```

    The run folder holds config.json, checkpoints, snapshots, samples, reconstructions and
    metrics.jsonl; the last line printed is the finished snapshot.
    """
    from dcvae import launch
    from dcvae.presets import configure
    from dcvae.training.estimate import estimate

    config = configure(preset, setting or [])
    if dry_run:
        launch.check(config, data, nproc)
        sizes = estimate(config, nproc or launch.default_ranks())
        if as_json:
            say_json({"config": config.model_dump(mode="json"), **asdict(sizes)})
            return
        print(config.model_dump_json(indent=2))
        print(sizes)
        return
    stopped = f"{out} is safe up to its last checkpoint; the same command goes on from there"
    with training_shown(stopped) as show:
        snapshot = launch.train(config, data, out, nproc, show=show)
    say_json({"snapshot": snapshot}) if as_json else say(snapshot)


def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Print this one's settings as JSON.",
            autocompletion=lambda incomplete: _beginning(incomplete),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the named configurations, or print the settings of one.

    ```
    dcvae presets
    dcvae presets digits
    ```
    """
    from dcvae.presets import PRESETS, configure

    if name is not None:
        print(configure(name).model_dump_json(indent=2))
        return
    rows = [_row(config) for config in PRESETS.values()]
    if as_json:
        say_json(rows)
        return
    shown = [[*row.values()] for row in rows]
    for row in shown:
        row[-2] = f"{row[-2]:,}"
    say_table([[key.replace("_", " ") for key in rows[0]], *shown])


def _beginning(incomplete: str) -> list[str]:
    """Names of presets, for shell completion."""
    from dcvae.presets import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def _row(config: "Config") -> dict[str, object]:
    model, training = config.model, config.training
    return {
        "preset": config.preset,
        "resolution": model.resolution,
        "channels": model.channels,
        "backbone": model.backbone,
        "method": config.objective.method,
        "latent_dim": model.latent_dim,
        "images": training.total_images,
        "phases": len(training.phases),
    }
