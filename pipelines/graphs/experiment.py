"""Makes pipelines: what all experiments have in common is defined here, once."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Dict, List  # noqa: UP035 - KFP reads these spellings

from kfp import dsl

from dcvae.presets import LAST, SELECT_BY, default_protocol
from pipelines.graphs.line import CPU_STEP, GPU_STEP, Results, Size, line
from pipelines.graphs.side_by_side import Compared, side_by_side

_SETTINGS = List[str]  # noqa: UP006
_LIMITS = Dict[str, float]  # noqa: UP006
PARAMETERS: dict[str, tuple[Any, str]] = {
    "source": (
        str,
        "the images: torchvision:DATASET, an s3:// prefix, a folder or a zip file",
    ),
    "storage": (str, "root for everything the run writes"),
    "name": (str, "name of the data set, and of the model in the registry"),
    "preset": (str, "configuration to start from; it determines resolution and channels"),
    "settings": (_SETTINGS, "changes to it, each as section.key=value"),
    "held_out": (
        float,
        "images for testing if the source has no test split: a number or, below 1, a fraction",
    ),
    "shard_options": (
        str,
        "options as behind dcvae shard: --splits folders --labels s3://bucket/labels.csv",
    ),
    "ranks": (int, "processes that share each training, one per GPU"),
    "protocol": (
        str,
        "how to measure: paper, held-out, or changed as paper,samples=9000; empty: the preset's",
    ),
    "weights": (str, "URI of Inception's weights: with them, distances are the paper's FIDs"),
    "perceptual_weights": (
        str,
        "URI of the perceptual network's weights, for a protocol with perceptual=vgg16",
    ),
    "last": (int, "how many of the last snapshots the best is chosen from; 1: only the final one"),
    "select_by": (str, "metric by which it is chosen, such as pixel_distance"),
    "maximum": (_LIMITS, "largest values that a champion may have, by metric"),
    "registry": (
        str,
        "registry to show it in too: kubeflow or mlflow; empty: the one in DCVAE_REGISTRY",
    ),
    "num_tasks": (int, "tasks that make the shard set; more than 1 for many images in a bucket"),
}
"""The possible parameters, with type and meaning. A pipeline chooses some, with defaults."""


def one_model(
    *,
    name: str,
    title: str,
    description: str,
    preset: str,
    source: str,
    ranks: int = 8,
    held_out: float = 0.1,
    maximum: Mapping[str, float] | None = None,
    num_tasks: int | None = None,
    small: Size = CPU_STEP,
    large: Size = GPU_STEP,
) -> Any:
    """The pipeline of one model, from images to the registry.

    Args:
        name: the same as the file's.
        title: name of the experiment in Kubeflow's pages, after "DC-VAE".
        description: one sentence, for these pages and ``--help``.
        num_tasks: default of the parameter of this name; None: no such parameter, and one task.
        small: size of the steps that shard and register.
        large: size of the step that runs the model. The rest are defaults of parameters.
    """
    defaults = _common(name, preset, source, ranks, held_out)
    defaults |= {"protocol": default_protocol(preset), "last": LAST, "select_by": SELECT_BY}
    defaults |= {"maximum": dict(maximum or {}), "registry": ""}
    if num_tasks is not None:
        defaults["num_tasks"] = num_tasks
    build = partial(line, small=small, large=large)
    return _pipeline(build, name, title, description, defaults, Results)


def comparison(
    *,
    name: str,
    title: str,
    description: str,
    headline: str,
    varied: str,
    values: Sequence[object],
    sweep: bool,
    preset: str,
    source: str,
    ranks: int = 8,
    held_out: float = 0.1,
    small: Size = CPU_STEP,
    large: Size = GPU_STEP,
) -> Any:
    """The pipeline of models that differ in the setting ``varied``, one for each of ``values``.

    Args:
        headline: title of the page.
        sweep: whether the values are numbers to plot each metric over. The rest is as above.
    """
    defaults = _common(preset, preset, source, ranks, held_out)
    build = partial(
        side_by_side,
        comparison=name,
        title=headline,
        varied=varied,
        values=values,
        sweep=sweep,
        small=small,
        large=large,
    )
    return _pipeline(build, name, title, description, defaults, Compared)


def _common(name: str, preset: str, source: str, ranks: int, held_out: float) -> dict[str, Any]:
    return {
        "source": source,
        "storage": "s3://dcvae",
        "name": name,
        "preset": preset,
        "settings": [],
        "held_out": float(held_out),
        "shard_options": "",
        "ranks": ranks,
        "protocol": "",
        "weights": "",
        "perceptual_weights": "",
    }


def _pipeline(
    build: Callable[..., Any],
    name: str,
    title: str,
    description: str,
    defaults: dict[str, Any],
    outputs: type,
) -> Any:
    """The KFP pipeline of a function with these parameters and a docstring that describes them."""

    def graph(*given: Any) -> Any:
        return build(**dict(zip(defaults, given, strict=True)))

    described = "\n".join(f"    {each}: {PARAMETERS[each][1]}." for each in defaults)
    graph.__doc__ = f"{description}\n\nArgs:\n{described}"
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    graph.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(each, kind, default=default, annotation=PARAMETERS[each][0])
            for each, default in defaults.items()
        ],
        return_annotation=outputs,
    )
    decorated = dsl.pipeline(
        name=f"dcvae-{name.replace('_', '-')}",
        display_name=f"DC-VAE {title}",
        description=description,
    )
    return decorated(graph)
