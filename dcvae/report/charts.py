"""Curves as inline SVG: they use the page's colours, light or dark, and need no script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 170
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 12, 26
NARROW = 34  # approximate width of a mark's text


@dataclass(frozen=True)
class Curve:
    """One measured quantity over the images shown to the model, or over something else."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    marks: Sequence[tuple[float, str]] = ()
    """Labelled positions on the x axis, such as where a resolution begins."""
    dots: bool = False
    """Whether to mark each value, because there are few."""
    over: str = "images shown"
    x_labels: Sequence[tuple[float, str]] = ()
    """Positions on the x axis with the text below them; None: image counts at its ends."""


def svg(curve: Curve) -> Markup:
    """The curve as an ``<svg>`` element with a text alternative."""
    points = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
    if len(points) < 2:
        return Markup("")
    x_low, x_high = points[0][0], max(points[-1][0], points[0][0] + 1)
    y_low, y_high = _range([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        share = (min(max(y, y_low), y_high) - y_low) / (y_high - y_low)
        return (
            LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM),
        )

    path = " ".join(
        f"{'L' if i else 'M'}{px:.1f} {py:.1f}"
        for i, (px, py) in enumerate(place(x, y) for x, y in points)
    )
    label = (
        f"{curve.name} over {curve.over}, from {number(points[0][1])} to {number(points[-1][1])}"
    )
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">',
        *_levels(y_low, y_high),
        *_below([(place(x, y_low)[0], t) for x, t in curve.x_labels] or _ends(x_low, x_high)),
        *_marks([(place(max(x, x_low), y_low)[0], t) for x, t in curve.marks if x <= x_high]),
        f'<path class="line" d="{path}"/>',
        *(_dot(*place(x, y)) for x, y in (points if curve.dots else points[-1:])),
        "</svg>",
    ]
    return Markup("".join(parts))


def number(value: float) -> str:
    """A number for reading: 12,345, 12.3, 0.0123, 8.1e-07."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size and size < 1e-3:
        return f"{value:.1e}"
    return f"{value:.3g}"


def image_count(value: float) -> str:
    """A number of images for an axis: 800, 16k, 1.2M."""
    for unit, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{suffix}"
    return f"{value:.0f}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The range shown, in which a few outliers do not flatten the curve."""
    ordered = sorted(values)
    cut = len(ordered) // 100
    low, high = ordered[cut], ordered[-1 - cut]
    if high - low < 1e-12 * max(1.0, abs(high)):
        return low - 0.5, high + 0.5
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def _levels(y_low: float, y_high: float) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = []
    for value in ticks(y_low, y_high):
        y = round(bottom - (value - y_low) / (y_high - y_low) * (bottom - TOP), 1)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        text = number(value)
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5}" text-anchor="end">{text}</text>')
    return parts


def _ends(x_low: float, x_high: float) -> list[tuple[float, str]]:
    return [(LEFT, image_count(x_low)), (WIDTH - RIGHT, image_count(x_high))]


def _below(labels: Sequence[tuple[float, str]]) -> list[str]:
    """Texts under the x axis; the first and last stay inside the picture."""
    anchors = ["start", *["middle"] * (len(labels) - 2), "end"]
    return [
        f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{escape(text)}</text>'
        for (x, text), anchor in zip(labels, anchors, strict=True)
    ]


def ticks(low: float, high: float) -> list[float]:
    """Two to five round numbers between two others."""
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _dot(x: float, y: float) -> str:
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'


def _marks(marks: Sequence[tuple[float, str]]) -> list[str]:
    """The marks; of two that are close together, the first has no text."""
    ends = [*(x for x, _ in marks), math.inf][1:]
    return [
        _mark(x, text if end - x > NARROW else "")
        for (x, text), end in zip(marks, ends, strict=True)
    ]


def _mark(x: float, text: str) -> str:
    anchor, side = ("end", -3) if x > WIDTH - RIGHT - 30 else ("start", 3)
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="mark" x="{x + side:.1f}" y="{TOP + 7}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
