"""Step: put several evaluations side by side on one page."""

from typing import List  # noqa: UP035 - the step's source is run behind `from typing import *`

from kfp.dsl import HTML, Markdown, Output

from components.base import step


@step
def compare(
    evaluations: List[str],  # noqa: UP006
    varied: str,
    sweep: bool,
    storage: str,
    name: str,
    title: str,
    report: Output[HTML],
    table: Output[Markdown],
) -> str:
    """Put evaluations side by side, each labelled from its model's configuration.

    Args:
        evaluations: URIs of the evaluations, all by one protocol, in the order of the table.
        varied: the setting in which the models differ, such as objective.method.
        sweep: whether its values are numbers over which each metric is plotted.
        storage: root for everything the pipeline writes.
        name: name of the comparison.
        title: headline of the page.
        report: a page with a table, pictures and, for a sweep, curves.
        table: only the metrics.

    Returns:
        URI of the comparison.
    """
    from pathlib import Path

    from dcvae.launch.pipeline_step import running_step
    from dcvae.places import comparison_uri
    from dcvae.report.comparison import PAGE, TABLE, compare_models
    from dcvae.storage import open_storage

    with running_step():
        out = comparison_uri(storage, name, evaluations)
        measured = compare_models(evaluations, varied, out, title, sweep=sweep)
        for metric, row in measured.items():
            print(f"{metric}: {', '.join(f'{label} {value:.4g}' for label, value in row.items())}")
        Path(report.path).write_bytes(open_storage(out).read(PAGE))
        Path(table.path).write_bytes(open_storage(out).read(TABLE))
    return out
