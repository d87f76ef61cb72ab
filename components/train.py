"""Step: train a model on a shard set."""

from typing import Dict, List  # noqa: UP035 - the step's source is run behind `from typing import *`

from kfp.dsl import Model, Output

from components.base import step


@step
def train(
    data: str,
    preset: str,
    settings: List[str],  # noqa: UP006
    storage: str,
    ranks: int,
    model: Output[Model],
    variant: str = "",
    protocol: str = "",
    weights: str = "",
    perceptual_weights: str = "",
    last: int = 5,
    select_by: str = "frechet_sampling",
    name: str = "",
    maximum: Dict[str, float] = {},  # noqa: B006, UP006
    registry: str = "",
) -> str:
    """Train a DC-VAE; resumes a run that was stopped and does not repeat a finished one.

    Args:
        data: URI of the shard set.
        preset: name of the configuration to start from.
        settings: changes to it, each as section.key=value.
        storage: root for everything the pipeline writes.
        ranks: processes that share the work, one per GPU.
        model: description of the final snapshot, with its URI.
        variant: the setting in which it differs from the trainings beside it; empty: none.
        protocol: how it will be measured; refused now if that is impossible.
        weights: URI of Inception's weights for that.
        perceptual_weights: URI of the perceptual network's.
        last: how many of its last snapshots to choose from; refused now if impossible.
        select_by: the metric to choose by, likewise.
        name: what it will be registered as; refused now if impossible; empty: not registered.
        maximum: largest values that a champion may have; refused now if they will not be measured.
        registry: another registry that will show it.

    Returns:
        URI of the final snapshot.
    """
    from pathlib import Path

    from dcvae.evaluation import check_ahead, check_selection, read_protocol
    from dcvae.launch import train as run_training
    from dcvae.launch.pipeline_step import running_step
    from dcvae.places import run_uri
    from dcvae.presets import configure
    from dcvae.promotion.beforehand import check_beforehand
    from dcvae.shards.manifest import load_manifest
    from dcvae.storage import open_storage

    with running_step() as say:
        config = configure(preset, [*settings, *([variant] if variant else [])])
        asked = read_protocol(protocol, config, weights)
        if name:
            check_beforehand(name, maximum, asked, registry)
        check_selection(int(last), select_by)
        manifest = load_manifest(open_storage(data))
        check_ahead(asked, config, manifest, weights, perceptual_weights, maximum)
        out = run_uri(storage, config, manifest)
        snapshot = run_training(config, data, out, int(ranks), show=say.training)
        print(f"finished: {snapshot}")
        Path(model.path).write_bytes(open_storage(snapshot).read("config.json"))
        model.metadata = {"snapshot": snapshot, "run": out}
    return snapshot
