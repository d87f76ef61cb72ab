"""Step: a trained model to numbers and a report."""

from kfp.dsl import HTML, ClassificationMetrics, Metrics, Output

from components.base import step


@step
def evaluate(
    snapshot: str,
    data: str,
    storage: str,
    samples: int,
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
    extractor: str = "efficientnet-lite0",
    weights: str = "",
    champion: str = "",
) -> str:
    """Measure a model against held-out images; a finished evaluation is not repeated.

    Args:
        snapshot: URI of the model.
        data: URI of the shard set.
        storage: root for everything the pipeline writes.
        samples: images in each compared set; 0: as many as are held out.
        metrics: every measured number, named by its protocol.
        confusion: which classes a linear classifier takes for which; empty without labels.
        report: one page with tables and pictures.
        extractor: network whose features are compared; inception-v3 needs its weights.
        weights: URI of that network's weights.
        champion: name of a model in the registry, whose champion is measured alike where it was
            measured on other images; empty: none.

    Returns:
        URI of the evaluation.
    """
    from pathlib import Path

    from dcvae.evaluation import evaluate as measure
    from dcvae.launch.pipeline_step import running_step
    from dcvae.places import evaluation_uri, reference_uri, registry_uri
    from dcvae.promotion import measure_champion
    from dcvae.report import write_report
    from dcvae.storage import open_storage

    with running_step() as say:
        n = int(samples) or None
        out, kept = evaluation_uri(storage, snapshot, n, extractor), reference_uri(storage)
        given = (snapshot, data, out, kept, write_report)
        result = measure(*given, samples=n, extractor=extractor, weights=weights, progress=say)
        for name, value in result.values().items():
            print(f"{name}: {value:.4g}")
            if abs(value) < float("inf"):  # Kubeflow's JSON knows no NaN: the step would fail
                metrics.log_metric(name, float(value))
        if result.confusion:
            confusion.log_confusion_matrix(result.confusion.classes, result.confusion.counts)
        Path(metrics.path).write_bytes(open_storage(out).read("evaluation.json"))
        Path(report.path).write_bytes(open_storage(out).read("report.html"))
        if champion:
            measure_champion(registry_uri(storage), champion, out, data)
    return out
