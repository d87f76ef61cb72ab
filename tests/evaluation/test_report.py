"""The report in a real browser: whole, silent, and asking nobody for anything."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, sync_playwright

from dcvae.data.manifest import load_manifest
from dcvae.data.shard import shard
from dcvae.evaluation import evaluate
from dcvae.evaluation.charts import Curve, svg
from dcvae.evaluation.paper import compare
from dcvae.evaluation.results import Evaluation
from dcvae.models import DCVAE
from dcvae.pictures import png, sheet
from dcvae.presets import resolve
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROKEN = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> tuple[Path, Evaluation]:
    folder = tmp_path_factory.mktemp("report")
    data, run = str(folder / "digits"), open_storage(str(folder / "run"))
    shard("sklearn:digits", data, resolution=8, name='digits <b>"&')
    torch.manual_seed(0)
    model = DCVAE(resolve("smoke")).eval()
    manifest = load_manifest(open_storage(data))
    dataset = {"uri": data, "name": manifest.name, "fingerprint": manifest.fingerprint}
    save_snapshot(run.child("snapshots", "000000000192"), model, images=192, dataset=dataset)
    lines = [
        {"images": i, "resolution": 4 if i < 96 else 8, "fade": 1.0, "kl": 1 / i, "gan": 0.5 * i}
        for i in range(32, 193, 32)
    ]
    run.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    for images in (96, 192):
        picture = png(sheet(torch.rand(64, 1, 8, 8) * 2 - 1, 8, 64))
        run.write(f"samples/{images:012d}.png", picture)
    snapshot = str(folder / "run" / "snapshots" / "000000000192")
    result = evaluate(snapshot, data, str(folder / "out"), samples=64)
    return folder / "out" / "report.html", result


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail("the report is opened in Chromium: install it, or run make test, which does")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def opened(browser: Browser, width: int, scheme: str = "light"):
    """A page that notes every complaint and every request."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    noted: list[str] = []
    page.on("console", lambda message: noted.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: noted.append(f"error: {error}"))
    page.on("request", lambda r: noted.append(r.url) if r.url.startswith(("http", "ws")) else None)
    page.on("requestfailed", lambda request: noted.append(f"failed: {request.url[:80]}"))
    return page, noted


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_is_whole_at_every_width_and_in_both_schemes(browser, report, width, scheme):
    page, noted = opened(browser, width, scheme)
    page.goto(report[0].as_uri())
    assert page.evaluate("document.images.length") == 5
    assert page.evaluate(BROKEN) == 0
    assert page.evaluate("document.querySelectorAll('.curves svg').length") == 2
    assert page.evaluate(WIDER) <= 0
    assert noted == []
    page.close()


def test_the_report_shows_in_a_sandboxed_frame(browser, report):
    page, noted = opened(browser, 900)
    page.set_content('<iframe sandbox="allow-scripts" width="860" height="700"></iframe>')
    page.evaluate("html => document.querySelector('iframe').srcdoc = html", report[0].read_text())
    frame = page.frame_locator("iframe")
    frame.locator("footer").wait_for()
    inner = page.frames[1]
    assert inner.evaluate("document.images.length") == 5
    assert inner.evaluate(BROKEN) == 0
    assert noted == []
    page.close()


def test_text_stands_out_from_its_ground_in_both_schemes(browser, report):
    contrast = """() => {
      const luminance = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => {
        v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 });
        return .2126 * r + .7152 * g + .0722 * b };
      const ground = e => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor; if (!c.endsWith(', 0)')) return c } };
      const texts = [...document.querySelectorAll('p, h1, h2, b, span, dt, dd, code')];
      return Math.min(...texts.map(e => {
        const [a, b] = [luminance(getComputedStyle(e).color), luminance(ground(e))];
        return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) })) }"""
    for scheme in ("light", "dark"):
        page, _ = opened(browser, 1280, scheme)
        page.goto(report[0].as_uri())
        assert page.evaluate(contrast) >= 4.5
        page.close()


def test_it_can_be_read_without_eyes_or_mouse(browser, report):
    page, _ = opened(browser, 390)
    page.goto(report[0].as_uri())
    assert page.evaluate("[...document.images].every(i => i.alt.length > 20)")
    assert page.evaluate("[...document.querySelectorAll('svg')].every(s => s.ariaLabel)")
    assert page.evaluate("document.querySelectorAll('h1').length") == 1
    scrolling = "[...document.querySelectorAll('.scroll, pre')]"
    assert page.evaluate(f"{scrolling}.length > 2 && {scrolling}.every(e => e.tabIndex == 0)")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.close()


def test_names_are_shown_not_interpreted(report):
    html = report[0].read_text()
    assert "digits &lt;b&gt;&#34;&amp;" in html
    assert "<b>&#34;" not in html
    assert "digits <b>" not in html


def test_the_page_holds_everything_and_stays_small(report):
    html = report[0].read_text()
    assert len(html) < 2_000_000
    for outside in ("http://", "https://", 'src="/', "url(", "<script", "@import"):
        assert outside not in html


def test_every_metric_is_in_the_table(report):
    html = report[0].read_text()
    for name, metric in report[1].metrics.items():
        assert f"<code>{name}</code>" in html
        assert metric.definition in html


def test_the_papers_figures_stand_only_where_the_protocol_allows(report):
    ours = report[1]
    assert compare(ours).rows == ()
    assert "no figures for digits" in compare(ours).statement

    def other(name: str, extractor: str, metric: str) -> Evaluation:
        return ours.model_copy(
            update={
                "dataset": ours.dataset.model_copy(update={"name": name}),
                "protocol": ours.protocol.model_copy(update={"extractor": extractor}),
                "metrics": {metric: ours.metrics["pixel_distance"]},
            }
        )

    ourselves = compare(other("CIFAR10", "efficientnet-lite0", "fd_efficientnet_lite0_sampling"))
    assert ourselves.rows == ()
    assert "another quantity" in ourselves.statement
    allowed = compare(other("CIFAR10", "inception-v3", "fid_sampling"))
    assert [(figure.value, figure.table) for figure, _ in allowed.rows] == [(17.9, "Table 1")]
    latents = compare(other("MNIST", "efficientnet-lite0", "probe_error_mean"))
    assert [figure.table for figure, _ in latents.rows] == ["Table 5"] * 3


def test_a_curve_survives_odd_values():
    curve = Curve("a <loss>", [0, 1, 2, 3], [1.0, float("nan"), float("inf"), 2.0])
    drawing = str(svg(curve))
    assert "nan" not in drawing.lower().replace("inf", "")
    assert "a &lt;loss&gt;" in drawing
    assert svg(Curve("one point", [1], [1.0])) == ""
    assert "<path" in svg(Curve("flat", [1, 2], [3.0, 3.0]))
