"""Several evaluations side by side: an ablation's table and pictures, or a sweep's curves."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dcvae.errors import UserError
from dcvae.evaluation import charts
from dcvae.evaluation.results import Evaluation, read_evaluation
from dcvae.storage import NotFound, Storage, open_storage

PAGE, RESULT, TABLE = "comparison.html", "comparison.json", "comparison.md"
PICTURES = ("samples", "reconstructions")


def compare_evaluations(
    evaluations: Mapping[str, str],
    out: str,
    title: str,
    *,
    sweep: str | None = None,
) -> dict[str, dict[str, float]]:
    """Writes ``comparison.html``, ``comparison.json`` and ``comparison.md`` into ``out``.

    Args:
        evaluations: label → URI of an evaluation's folder, in the order of the table.
        sweep: what the labels are values of, such as "negatives"; then they are numbers, and
            every measure is drawn over them.

    Returns:
        Metric → label → value.

    Raises:
        UserError: fewer than two, a missing evaluation, labels of a sweep that are no numbers, or
            evaluations of different protocols, which cannot be compared.
    """
    if len(evaluations) < 2:
        raise UserError("a comparison needs 2 evaluations or more")
    places = {label: open_storage(uri) for label, uri in evaluations.items()}
    found = {label: read_evaluation(place) for label, place in places.items()}
    _check_protocols(found)
    table = _table(found)
    first = next(iter(found.values()))
    from dcvae.evaluation.report import template

    page = template("comparison.html.j2").render(
        title=title,
        labels=list(found),
        table=table,
        best=_best(found, table),
        metrics=first.metrics,
        protocol=first.protocol,
        dataset=first.dataset,
        evaluations=found,
        pictures={name: _pictures(places, name) for name in PICTURES},
        curves=_curves(table, sweep) if sweep else [],
    )
    place = open_storage(out)
    place.write(PAGE, page.encode())
    place.write(TABLE, _markdown(table, list(found)).encode())
    place.write(RESULT, json.dumps(table, indent=2).encode())
    return table


def labelled(evaluations: Sequence[str], setting: str) -> dict[str, str]:
    """Label → URI, in the given order; the label is what each model's own configuration says.

    Args:
        evaluations: URIs of evaluations' folders, whose snapshots still are where they were.
        setting: what distinguishes them, such as ``objective.method``.

    Raises:
        UserError: a missing evaluation or snapshot, an unknown setting, or two with one label.
    """
    from dcvae.registry import resolve
    from dcvae.snapshot import describe_snapshot

    found: dict[str, str] = {}
    for uri in evaluations:
        snapshot = read_evaluation(open_storage(uri)).snapshot.uri
        value: Any = describe_snapshot(open_storage(resolve(snapshot)))["config"]
        for key in setting.split("."):
            if not isinstance(value, dict) or key not in value:
                raise UserError(f"there is no setting {setting!r} in the configuration of a model")
            value = value[key]
        if str(value) in found:
            raise UserError(
                f"{found[str(value)]} and {uri} both have {setting}={value}; "
                "compare models that differ in it"
            )
        found[str(value)] = uri
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
        differences = reference.protocol.differences(evaluation.protocol)
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
    """The best value of each metric; an interval's width is no merit."""
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


def _curves(table: Mapping[str, Mapping[str, float]], sweep: str) -> list[Any]:
    curves = []
    for name, row in table.items():
        try:
            points = sorted((float(label), value) for label, value in row.items())
        except ValueError:
            raise UserError(
                f"the labels of a sweep over {sweep} must be numbers, not {', '.join(row)}"
            ) from None
        x, y = zip(*points, strict=True)
        curves.append(charts.Curve(name, x, y))
    return curves
