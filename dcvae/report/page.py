"""The report: a self-contained HTML page with metrics, pictures and how to use the model."""

import base64
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from dcvae.evaluation.results import REPORT, Evaluation, Metric
from dcvae.report import charts
from dcvae.report.paper import compare
from dcvae.storage import Storage

if TYPE_CHECKING:
    from dcvae.evaluation.job import Evaluated

_TITLES = (
    ("fid", "Fréchet Inception distance"),
    ("kid", "Kernel Inception distance"),
    ("is_", "Inception score"),
    ("fd", "Fréchet distance"),
    ("kd", "Kernel distance"),
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("pixel", "Pixel distance"),
    ("perceptual", "Perceptual distance"),
    ("ppl", "Perceptual path length"),
    ("probe_error_mean", "Probe error"),
    ("probe_error_ci95", "Probe error, 95 % interval"),
)


@cache
def template(name: str) -> Template:
    """A page template of this package; escapes HTML, and treats unknown names as errors."""
    environment = Environment(
        loader=PackageLoader("dcvae.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": charts.number,
        "images": charts.image_count,
        "inlined": inlined,
        "svg": charts.svg,
        "title": title,
    }
    return environment.get_template(name)


def inlined(picture: bytes) -> str:
    """PNG bytes as a data URI for an ``<img>``."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def write_report(place: Storage, evaluated: "Evaluated") -> None:
    """Write ``report.html``, and its pictures as PNG files, into ``place``."""
    from dcvae.report.development import development
    from dcvae.report.drawing import STRENGTHS, draw

    evaluation, description = evaluated.evaluation, evaluated.description
    model, shown = evaluated.model, evaluated.shown
    pictures = draw(model, shown)
    for name, picture in pictures.files.items():
        place.write(f"{name}.png", picture)
    classes = evaluation.confusion.classes if evaluation.confusion else []
    device = next(model.parameters()).device
    page = template("report.html.j2").render(
        evaluation=evaluation,
        protocol=evaluation.protocol,
        shown_split=shown.split,
        explained=explained,
        snapshot=evaluation.snapshot,
        dataset=evaluation.dataset,
        description=description,
        model=description["config"]["model"],
        pictures=pictures.files,
        edits=[(classes[start], classes[end]) for start, end in pictures.edits],
        strengths=STRENGTHS,
        development=development(evaluated.source, evaluation.snapshot.images, shown.inputs, device),
        comparison=compare(evaluation, description["config"]["model"]["latent_dim"]),
        cards=cards(evaluation),
        sets=rows(evaluation)[0],
        others=rows(evaluation)[1],
    )
    place.write(REPORT, page.encode())


_NONE = {
    "reference_images": "all of the split",
    "samples": "as many as there are reference images",
    "latent_clamp": "not clamped",
    "perceptual": "not measured",
}


_AT_MOST = ("reference_images", "reconstructions", "neighbourhoods", "probe_images")


def explained(field: str, value: object) -> str:
    """A protocol's value in words."""
    if value is None:
        return _NONE[field]
    if field == "latent_clamp":
        return f"± {value}"
    if field == "latent":
        return "a sample of q(z|x)" if value == "sampled" else "the mean of q(z|x)"
    if isinstance(value, int) and field != "seed":
        return f"{value:,}" + " at most" * (field in _AT_MOST)
    return str(value)


def title(name: str) -> str:
    """A metric's name in words: ``fd_…_sampling`` is "Fréchet distance"."""
    return next((title for start, title in _TITLES if name.startswith(start)), name)


_KINDS = ("_sampling", "_reconstruction")


def rows(evaluation: Evaluation) -> tuple[list[dict[str, Any]], dict[str, Metric]]:
    """The metrics as two tables: those of sets by kind of image, and all others by name."""
    sets: dict[str, dict[str, Any]] = {}
    others = {}
    for name, metric in evaluation.metrics.items():
        kind = next((kind for kind in _KINDS if name.endswith(kind)), None)
        if kind is None:
            others[name] = metric
        else:
            row = sets.setdefault(name.removesuffix(kind), {"names": [], "any": metric})
            row["names"].append(name)
            row[kind[1:]] = metric
    return list(sets.values()), others


def cards(evaluation: Evaluation) -> list[dict[str, str]]:
    """The key figures at the top of the page."""
    wanted = (
        ("fid_sampling", "FID, samples"),
        ("fid_reconstruction", "FID, reconstructions"),
        ("fd_efficientnet_lite0_sampling", "Fréchet, samples"),
        ("fd_efficientnet_lite0_reconstruction", "Fréchet, reconstructions"),
        ("pixel_distance", "Pixel distance"),
        ("probe_error_mean", "Probe error"),
    )
    found = []
    for name, label in wanted:
        metric = evaluation.metrics.get(name)
        if metric is None:
            continue
        value, below = charts.number(metric.value), ""
        if metric.floor is not None:
            below = f"real images: {charts.number(metric.floor)}"
        if name == "pixel_distance":
            below = "of 255 levels"
        if name == "probe_error_mean":
            value = f"{100 * metric.value:.1f} %"
            below = (
                f"± {100 * evaluation.metrics['probe_error_ci95'].value:.1f} %, linear classifier"
            )
            if metric.components is not None:
                below += f"; principal components: {100 * metric.components:.1f} %"
        found.append({"label": label, "value": value, "below": below})
    return found
