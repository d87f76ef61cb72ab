"""Several evaluations side by side: an ablation's table and pictures, or a sweep's curves."""

import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dcvae.errors import UserError
from dcvae.evaluation.results import Evaluation, read_evaluation
from dcvae.report import charts
from dcvae.report.paper import Comparison, Figure, compare
from dcvae.storage import NotFound, Storage, open_storage

PAGE, RESULT, TABLE = "comparison.html", "comparison.json", "comparison.md"
PICTURES = ("samples", "reconstructions")
TABULATED = ("objective.method", "model.latent_dim")
"""The settings that the paper's Tables 1 and 5 vary; its Figure 11 has no numbers."""


def compare_evaluations(
    evaluations: Mapping[str, str],
    out: str,
    title: str,
    *,
    sweep: str | None = None,
    printed: Mapping[str, Comparison] = MappingProxyType({}),
) -> dict[str, dict[str, float]]:
    """Write ``comparison.html``, ``comparison.json`` and ``comparison.md`` into ``out``.

    Args:
        evaluations: URIs of evaluation folders by label, in the order of the table.
        sweep: what the labels are values of, such as "negatives"; they must then be numbers, and
            every metric is plotted over them.
        printed: what the paper says of each model, by label.

    Returns:
        Values by metric, then by label.

    Raises:
        UserError: fewer than two, a missing evaluation, labels of a sweep that are not numbers, or
            evaluations by different protocols, which cannot be compared.
    """
    if len(evaluations) < 2:
        raise UserError("a comparison needs 2 evaluations or more")
    places = {label: open_storage(uri) for label, uri in evaluations.items()}
    found = {label: read_evaluation(place) for label, place in places.items()}
    _check_protocols(found)
    table = _table(found)
    first = next(iter(found.values()))
    from dcvae.report.page import template

    page = template("comparison.html.j2").render(
        title=title,
        labels=list(found),
        table=table,
        best=_best(found, table),
        metrics=first.metrics,
        protocol=first.protocol,
        extractor=first.extractor,
        dataset=first.dataset,
        evaluations=found,
        pictures={name: _pictures(places, name) for name in PICTURES},
        sweep=sweep,
        curves=_curves(table, sweep) if sweep else [],
        printed=_printed(printed),
        components=_components(found),
        statements=list(dict.fromkeys(each.statement for each in printed.values())),
    )
    place = open_storage(out)
    place.write(PAGE, page.encode())
    place.write(TABLE, _markdown(table, list(found)).encode())
    place.write(RESULT, json.dumps(table, indent=2).encode())
    return table


def tabulate(evaluations: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Only the table of :func:`compare_evaluations`; nothing is written."""
    if len(evaluations) < 2:
        raise UserError("a comparison needs 2 evaluations or more")
    found = {label: read_evaluation(open_storage(uri)) for label, uri in evaluations.items()}
    _check_protocols(found)
    return _table(found)


def compare_models(
    evaluations: Sequence[str], varied: str, out: str, title: str, *, sweep: bool = False
) -> dict[str, dict[str, float]]:
    """As :func:`compare_evaluations`, for evaluations whose models still exist.

    Each model's label, and the figures of the paper beside it, follow from its configuration.

    Args:
        evaluations: URIs of evaluation folders, in the order of the table.
        varied: the setting in which the models differ, such as ``objective.method``.
        sweep: whether its values are numbers over which every metric is plotted.

    Raises:
        UserError: as there; also a missing model, an unknown setting, or two models with the same
            value of it.
    """
    from dcvae.registry import resolve
    from dcvae.snapshot import describe_snapshot

    labels: dict[str, str] = {}
    printed: dict[str, Comparison] = {}
    for uri in evaluations:
        evaluation = read_evaluation(open_storage(uri))
        config = describe_snapshot(open_storage(resolve(evaluation.snapshot.uri)))["config"]
        label = str(_setting(config, varied))
        if label in labels:
            raise UserError(
                f"{labels[label]} and {uri} both have {varied}={label}; compare models that "
                "differ in it"
            )
        labels[label] = uri
        printed[label] = _beside(evaluation, config, varied)
    over = varied.rpartition(".")[2] if sweep else None
    return compare_evaluations(labels, out, title, sweep=over, printed=printed)


def _beside(evaluation: Evaluation, config: Any, varied: str) -> Comparison:
    """What the paper says of this model, if one of its tables varies the same setting."""
    if varied in TABULATED:
        return compare(evaluation, int(config["model"]["latent_dim"]))
    return Comparison((), f"The paper prints no figures for values of {varied}.")


def _setting(config: Any, name: str) -> Any:
    value = config
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            raise UserError(f"there is no setting {name!r} in the configuration of a model")
        value = value[key]
    return value


def _components(found: Mapping[str, Evaluation]) -> dict[str, dict[str, float]]:
    """The same measures of principal components, by metric, then by label."""
    known: dict[str, dict[str, float]] = {}
    for label, evaluation in found.items():
        for name, metric in evaluation.metrics.items():
            if metric.components is not None:
                known.setdefault(name, {})[label] = metric.components
    return known


def _printed(printed: Mapping[str, Comparison]) -> dict[str, dict[str, Figure]]:
    """The paper's figures by metric, then by label."""
    found: dict[str, dict[str, Figure]] = {}
    for label, comparison in printed.items():
        for figure, _ in comparison.rows:
            found.setdefault(figure.metric, {})[label] = figure
    return found


def _markdown(table: Mapping[str, Mapping[str, float]], labels: Sequence[str]) -> str:
    lines = [f"| measure | {' | '.join(labels)} |", f"| --- |{' ---: |' * len(labels)}"]
    for name, row in table.items():
        cells = (charts.number(row[label]) if label in row else "–" for label in labels)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _check_protocols(found: Mapping[str, Evaluation]) -> None:
    (first, reference), *others = found.items()
    for label, evaluation in others:
        differences = reference.differences(evaluation)
        if differences:
            raise UserError(
                f"{label} cannot be compared with {first}: their evaluations differ in "
                f"{', '.join(differences)}; evaluate all of them the same way"
            )


def _table(found: Mapping[str, Evaluation]) -> dict[str, dict[str, float]]:
    names = dict.fromkeys(name for evaluation in found.values() for name in evaluation.metrics)
    values = {label: evaluation.values() for label, evaluation in found.items()}
    return {
        name: {label: mine[name] for label, mine in values.items() if name in mine}
        for name in names
    }


def _best(
    found: Mapping[str, Evaluation], table: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """The best value of each metric, except for the width of an interval."""
    best = {}
    for name, row in table.items():
        metric = next(e.metrics[name] for e in found.values() if name in e.metrics)
        if not name.endswith("_ci95"):
            best[name] = (min if metric.better == "lower" else max)(row.values())
    return best


def _pictures(places: Mapping[str, Storage], name: str) -> dict[str, bytes]:
    pictures = {}
    for label, place in places.items():
        try:
            pictures[label] = place.read(f"{name}.png")
        except NotFound:
            continue
    return pictures


def _curves(table: Mapping[str, Mapping[str, float]], sweep: str) -> list[charts.Curve]:
    """Each metric over the swept values, on a logarithmic axis if they are positive."""
    curves = []
    for name, row in table.items():
        try:
            points = sorted((float(label), label, value) for label, value in row.items())
        except ValueError:
            raise UserError(
                f"the labels of a sweep over {sweep} must be numbers, not {', '.join(row)}"
            ) from None
        if name.endswith("_ci95"):
            continue
        numbers, labels, y = zip(*points, strict=True)
        x = [math.log(n) for n in numbers] if numbers[0] > 0 else numbers
        below = list(zip(x, labels, strict=True))
        curves.append(charts.Curve(name, x, y, dots=True, over=sweep, x_labels=below))
    return curves
