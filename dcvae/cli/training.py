"""Verbs about trainings."""

from typing import Annotated

import typer

from dcvae.cli.show import say, training_shown


def add_to(app: typer.Typer) -> None:
    """Add this module's verbs."""
    app.command()(train)
    app.command()(presets)


def train(
    preset: Annotated[str, typer.Option(help="A named configuration; see dcvae presets.")],
    data: Annotated[str, typer.Option(help="The shard set.")],
    out: Annotated[str, typer.Option(help="Folder or s3:// prefix of the run.")],
    nproc: Annotated[
        int | None, typer.Option(help="Processes that share the work; one a GPU by default.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check, print settings, sizes and schedule, and stop."),
    ] = False,
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
        print(config.model_dump_json(indent=2))
        print(estimate(config, nproc or launch.default_ranks()))
        return
    stopped = f"{out} is safe up to its last checkpoint; the same command goes on from there"
    with training_shown(stopped) as show:
        snapshot = launch.train(config, data, out, nproc, show=show)
    say(snapshot)


def presets(
    name: Annotated[str | None, typer.Argument(help="Print this one's settings as JSON.")] = None,
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
    width = max(len(each) for each in PRESETS)
    for each, config in PRESETS.items():
        model, training = config.model, config.training
        print(
            f"{each:<{width}}  {model.resolution}x{model.resolution}x{model.channels}  "
            f"{model.backbone}  {config.objective.method}  "
            f"{training.total_images:,} images in {len(training.phases)} phases"
        )
