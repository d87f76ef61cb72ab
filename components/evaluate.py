"""Step: measure a trained model and write a report."""

from kfp.dsl import HTML, ClassificationMetrics, Metrics, Output

from components.base import step


@step
def evaluate(
    snapshot: str,
    data: str,
    storage: str,
    protocol: str,
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
    weights: str = "",
    perceptual_weights: str = "",
    last: int = 5,
    select_by: str = "frechet_sampling",
    champion: str = "",
) -> str:
    """Measure the best of a run's last snapshots; a finished evaluation is not repeated.

    Args:
        snapshot: URI of the run's final snapshot.
        data: URI of the shard set.
        storage: root for everything the pipeline writes.
        protocol: how to measure: paper or held-out,samples=10000, say; empty: the preset's.
        metrics: every measured number, named by its protocol.
        confusion: which classes a linear classifier confuses; empty without labels.
        report: a page with tables and pictures.
        weights: URI of Inception's weights; with them, distances are FIDs.
        perceptual_weights: URI of the weights of the protocol's perceptual network.
        last: how many of the last snapshots to choose from, on few images; 1: only the final one.
        select_by: the metric to choose by, such as frechet_sampling or pixel_distance.
        champion: name of a model in the registry; its champion is measured the same way if it was
            measured differently or on other images; empty: none.

    Returns:
        URI of the evaluation, which says what snapshot it is of.
    """
    from pathlib import Path

    from dcvae import evaluation
    from dcvae.launch.pipeline_step import running_step
    from dcvae.places import evaluation_uri, reference_uri, registry_uri
    from dcvae.promotion import Aids, measure_champion
    from dcvae.report import write_report
    from dcvae.storage import open_storage

    with running_step() as say:
        asked = evaluation.protocol_for(snapshot, protocol, weights)
        kept, networks = reference_uri(storage), (weights, perceptual_weights)
        out = evaluation_uri(storage, snapshot, asked.slug, int(last), select_by)
        how = (snapshot, data, out, kept, write_report, asked, int(last), select_by)
        result = evaluation.evaluate(*how, *networks, progress=say)
        print(*result.lines(), sep="\n")
        for name, value in result.finite().items():  # Kubeflow's JSON knows no NaN
            metrics.log_metric(name, value)
        if result.confusion:
            confusion.log_confusion_matrix(result.confusion.classes, result.confusion.counts)
        Path(metrics.path).write_bytes(open_storage(out).read("evaluation.json"))
        Path(report.path).write_bytes(open_storage(out).read("report.html"))
        if champion:
            measure_champion(registry_uri(storage), champion, out, data, Aids(kept, *networks))
    return out
