"""The report: one self-contained HTML page with measures, pictures and how to use the model."""

import base64
import io
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from dcvae.evaluation import charts
from dcvae.evaluation.paper import compare
from dcvae.evaluation.results import REPORT, Evaluation
from dcvae.latent import interpolate
from dcvae.pictures import pairs, png, sheet
from dcvae.storage import NotFound, Storage, open_storage

if TYPE_CHECKING:
    from dcvae.evaluation.measure import Measured
    from dcvae.models import DCVAE

LARGEST_TILE = 128
STAGES = 6
NOT_CURVES = ("images", "resolution", "fade", "data_wait_seconds")


@cache
def template(name: str) -> Template:
    """A page of this package, with HTML escaping and unknown names as errors."""
    environment = Environment(
        loader=PackageLoader("dcvae.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": charts.number, "data_uri": data_uri, "svg": charts.svg}
    return environment.get_template(name)


def data_uri(picture: bytes) -> str:
    """PNG bytes as the address of an ``<img>``."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def write_report(
    place: Storage,
    evaluation: Evaluation,
    description: dict[str, Any],
    model: "DCVAE",
    measured: "Measured",
    source: Storage,
) -> None:
    """Writes ``report.html`` and the pictures that it shows, as PNG files, into ``place``."""
    pictures = draw(model, measured)
    for name, picture in pictures.items():
        place.write(f"{name}.png", picture)
    run = run_of(source)
    page = template("report.html.j2").render(
        evaluation=evaluation,
        protocol=evaluation.protocol,
        snapshot=evaluation.snapshot,
        dataset=evaluation.dataset,
        description=description,
        model=description["config"]["model"],
        pictures=pictures,
        shown=len(measured.samples),
        curves=curves(run, evaluation.snapshot.images) if run else [],
        stages=stages(run, evaluation.snapshot.images) if run else [],
        comparison=compare(evaluation),
        cards=cards(evaluation),
    )
    place.write(REPORT, page.encode())


def draw(model: "DCVAE", measured: "Measured") -> dict[str, bytes]:
    """The contact sheets by name, PNG; larger images are reduced to 128 px and fewer."""
    resolution = measured.inputs.shape[-1]
    side = min(max(64, resolution), LARGEST_TILE)
    count = 64 if side <= 64 else 24
    columns = 8 if side <= 64 else 6
    inputs, samples = measured.inputs[: count // 2], measured.samples[:count]
    device = next(model.parameters()).device
    with torch.no_grad():
        outputs = model.reconstruct(inputs.to(device)).cpu()
        rows = min(5, len(inputs) // 2)
        a, b = inputs[:rows].to(device), inputs[rows : 2 * rows].to(device)
        between = interpolate(model, a, b, steps=9).cpu().flatten(0, 1)
    return {
        "samples": png(sheet(samples, columns, side)),
        "reconstructions": png(sheet(pairs(inputs, outputs), columns, side, group=2)),
        "interpolation": png(sheet(between, 9, 96)),
    }


def cards(evaluation: Evaluation) -> list[dict[str, str]]:
    """The few numbers at the top of the page."""
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
        found.append({"label": label, "value": value, "below": below})
    return found


def run_of(snapshot: Storage) -> Storage | None:
    """The run folder that a snapshot lies in, if it still lies in one."""
    run, _, place = snapshot.uri.rstrip("/").rpartition("/snapshots/")
    if not run or "/" in place:
        return None
    storage = open_storage(run)
    return storage if storage.stat("metrics.jsonl") else None


def curves(run: Storage, images: int) -> list[charts.Curve]:
    """What ``metrics.jsonl`` says of the first ``images`` images; marks: a resolution begins."""
    try:
        lines = [json.loads(line) for line in run.read_text("metrics.jsonl").splitlines() if line]
    except (NotFound, ValueError):
        return []
    lines = [line for line in lines if line["images"] <= images]
    marks: list[tuple[float, str]] = []
    for line in lines:
        if f"{line['resolution']:.0f}px" not in [text for _, text in marks]:
            marks.append((line["images"], f"{line['resolution']:.0f}px"))
    names = [name for line in lines for name in line if name not in NOT_CURVES]
    found = []
    for name in dict.fromkeys(names):
        points = [(line["images"], line[name]) for line in lines if name in line]
        x, y = zip(*points, strict=True)
        found.append(charts.Curve(name.replace("_", " "), x, y, marks if len(marks) > 1 else ()))
    return found


def stages(run: Storage, images: int) -> list[dict[str, Any]]:
    """A few of the run's sample sheets of up to ``images`` images, as small PNGs."""
    last = f"samples/{images:012d}.png"
    keys = [info.key for info in run.list("samples/")]
    keys = [key for key in keys if re.fullmatch(r"samples/\d{12}\.png", key) and key <= last]
    if not keys:
        return []
    steps = min(STAGES, len(keys))
    chosen = [keys[round(i * (len(keys) - 1) / max(1, steps - 1))] for i in range(steps)]
    found = []
    for key in dict.fromkeys(chosen):
        picture = Image.open(io.BytesIO(run.read(key)))
        half = picture.crop((0, 0, picture.width // 2, picture.height // 2))
        half.thumbnail((272, 272))
        shown = int(key.removeprefix("samples/").removesuffix(".png"))
        found.append({"images": shown, "png": png(half)})
    return found
