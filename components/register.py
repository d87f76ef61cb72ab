"""Step: register an evaluated model as a version."""

from typing import Dict  # noqa: UP035 - the step's source is run behind `from typing import *`

from kfp.dsl import Markdown, Model, Output

from components.base import step


@step
def register(
    evaluation: str,
    data: str,
    storage: str,
    name: str,
    maximum: Dict[str, float],  # noqa: UP006
    run: str,
    model: Output[Model],
    card: Output[Markdown],
    registry: str = "",
    weights: str = "",
    perceptual_weights: str = "",
) -> str:
    """Register a model; it becomes the champion if it passes the gate.

    The gate: no metric above its maximum, and none worse than the current champion's, which is
    measured again if it was measured on other images or by another protocol.

    Args:
        evaluation: URI of the evaluation, which says what snapshot it is of.
        data: URI of the shard set of the evaluation.
        storage: root for everything the pipeline writes.
        name: name of the model in the registry.
        maximum: largest values that a champion may have, by metric name.
        run: id of the pipeline run, for the version's lineage.
        model: the registered version.
        card: its model card.
        registry: another registry to show it in: kubeflow or mlflow; empty: the one that the
            environment variable DCVAE_REGISTRY names.
        weights: URI of Inception's weights, if the evaluation used them.
        perceptual_weights: URI of the perceptual network's weights, if the evaluation used them.

    Returns:
        URI of the registered version.
    """
    from pathlib import Path

    from dcvae.launch.pipeline_step import running_step
    from dcvae.places import reference_uri, registry_uri
    from dcvae.promotion import Aids
    from dcvae.promotion import register as add
    from dcvae.registry import open_catalogue, resolve
    from dcvae.storage import open_storage

    with running_step():
        limits = {metric: float(value) for metric, value in maximum.items()}
        given = ("", evaluation, registry_uri(storage), name, limits, {"pipeline_run": run}, data)
        aids = Aids(reference_uri(storage), weights, perceptual_weights)
        done = add(*given, open_catalogue(registry or None), aids)
        place = "the champion" if done.champion else "not the champion"
        print(f"version {done.version} is {place}: {done.reason}")
        content = open_storage(resolve(done.uri))
        Path(card.path).write_bytes(content.read("model_card.md"))
        Path(model.path).write_bytes(content.read("config.json"))
        model.metadata = {"version": done.version, "uri": done.uri, "champion": done.champion}
    return str(done.uri)
