"""Trains and evaluates several models on one shard set, and compares them on one page."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from components.compare import compare
from pipelines.graphs.line import (
    CPU_STEP,
    GPU_STEP,
    Size,
    cut_images,
    prepare,
    train_and_evaluate,
)

AT_ONCE = 2
"""How many trainings a cluster runs at once; a single machine runs them one by one."""


class Compared(NamedTuple):
    """What a comparison leaves behind, as URIs."""

    data: str
    comparison: str


def small_digits(images: int) -> dict[str, object]:
    """Parameters of a comparison's small form: each model is shown ``images`` digits."""
    part = images // 12
    phases = [
        {"resolution": 4, "images": part, "batch_size": 32},
        {"resolution": 8, "images": 3 * part, "fade_images": part, "batch_size": 32},
        {"resolution": 16, "images": 6 * part, "fade_images": part, "batch_size": 32},
    ]
    return {
        "source": "sklearn:digits",
        "name": "digits",
        "preset": "digits",
        "settings": [f"training.phases={json.dumps(phases)}"],
        "ranks": 2,
    }


def side_by_side(
    *,
    comparison: str,
    title: str,
    varied: str,
    values: Sequence[object],
    sweep: bool,
    source: str,
    storage: str,
    name: str,
    preset: str,
    settings: list[str],
    held_out: float,
    ranks: int,
    protocol: str,
    shard_options: str = "",
    small: Size = CPU_STEP,
    large: Size = GPU_STEP,
    weights: str = "",
    perceptual_weights: str = "",
) -> Compared:
    """Add to the pipeline being defined: shard, train and evaluate each model, compare.

    Args:
        comparison: name of the comparison's folder.
        title: headline of its page.
        varied: the setting in which the models differ; the page labels them by its values.
        values: these values, one model for each, in the order of the table.
        sweep: whether they are numbers to plot each metric over.
        settings: changes to all configurations. The rest is as for :func:`line`.
    """
    images = {
        "source": source,
        "storage": storage,
        "name": name,
        "preset": preset,
        "settings": settings,
        "held_out": held_out,
        "shard_options": shard_options,
    }
    cut = cut_images(1, images, small)
    trainings: list[Any] = []
    evaluations: list[Any] = []
    # Not a loop of Kubeflow: its local runner would train two at once and mix up their inputs.
    for value in values:
        trained, measured = train_and_evaluate(
            data=cut.outputs["Output"],
            storage=storage,
            protocol=protocol,
            weights=weights,
            perceptual_weights=perceptual_weights,
            last=1,  # after as many images as the others
            size=large,
            label=f"with {value}" if sweep else str(value),
            preset=preset,
            variant=f"{varied}={value}",
            settings=settings,
            ranks=ranks,
        )
        if len(trainings) >= AT_ONCE:
            trained.after(trainings[-AT_ONCE])
        trainings.append(trained)
        evaluations.append(measured.outputs["Output"])
    compared = compare(
        evaluations=evaluations,
        varied=varied,
        sweep=sweep,
        storage=storage,
        name=comparison,
        title=title,
    )
    prepare(compared, "Compare", Size(cpu="1", memory="2Gi"))
    return Compared(data=cut.outputs["Output"], comparison=compared.outputs["Output"])
