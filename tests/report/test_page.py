"""The report in a real browser: whole, silent, and asking nobody for anything."""

import json
from pathlib import Path

import pytest
import torch

from dcvae.evaluation import evaluate, read_protocol
from dcvae.evaluation.results import Evaluation, Metric
from dcvae.models import DCVAE
from dcvae.pictures import png, sheet
from dcvae.presets import configure
from dcvae.report import write_report
from dcvae.report.charts import Curve, svg, ticks
from dcvae.report.paper import compare
from dcvae.sharding.shard import shard
from dcvae.shards.manifest import load_manifest
from dcvae.snapshot import save_snapshot
from dcvae.storage import open_storage

from .pages import check_page, check_sandboxed, opened

IMAGES, DRAWINGS = 7, 3


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> tuple[Path, Evaluation]:
    folder = tmp_path_factory.mktemp("report")
    data, run = str(folder / "digits"), open_storage(str(folder / "run"))
    shard("sklearn:digits", data, resolution=8, name='digits <b>"&')
    torch.manual_seed(0)
    model = DCVAE(configure("smoke")).eval()
    manifest = load_manifest(open_storage(data))
    dataset = {"uri": data, "name": manifest.name, "fingerprint": manifest.fingerprint}
    for images, resolution in ((96, 4), (192, 8)):
        model.grow_to(resolution, 1.0)
        place = run.child("snapshots", f"{images:012d}")
        save_snapshot(place, model, images=images, dataset=dataset)
    run.write("snapshots/000000000150/config.json", b"{}")  # damaged: not measured
    lines = [
        {"images": i, "resolution": 4 if i < 96 else 8, "fade": 1.0, "kl": 1 / i, "gan": 0.5 * i}
        for i in range(32, 193, 32)
    ]
    run.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    for images in (96, 192):
        picture = png(sheet(torch.rand(64, 1, 8, 8) * 2 - 1, 8, 64))
        run.write(f"samples/{images:012d}.png", picture)
    snapshot = str(folder / "run" / "snapshots" / "000000000192")
    result = evaluate(
        snapshot,
        data,
        str(folder / "out"),
        present=write_report,
        protocol="held-out,samples=64,reference_images=64",
    )
    return folder / "out" / "report.html", result


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_is_whole_at_every_width_and_in_both_schemes(browser, report, width, scheme):
    check_page(browser, report[0], width, scheme, IMAGES, DRAWINGS)


def test_the_report_shows_in_a_sandboxed_frame(browser, report):
    check_sandboxed(browser, report[0], IMAGES, DRAWINGS)


def test_text_stands_out_from_its_ground_in_both_schemes(browser, report):
    contrast = """() => {
      const luminance = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => {
        v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 });
        return .2126 * r + .7152 * g + .0722 * b };
      const ground = e => { for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor; if (!c.endsWith(', 0)')) return c } };
      const kinds = 'p, h1, h3, b, span, dt, dd, code, small, li, th';
      const texts = [...document.querySelectorAll(kinds)];
      return Math.min(...texts.map(e => {
        const [a, b] = [luminance(getComputedStyle(e).color), luminance(ground(e))];
        return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) })) }"""
    for scheme in ("light", "dark"):
        with opened(browser, 1280, scheme) as (page, _):
            page.goto(report[0].as_uri())
            assert page.evaluate(contrast) >= 4.5


def test_it_can_be_read_without_eyes_or_mouse(browser, report):
    with opened(browser, 390) as (page, _):
        page.goto(report[0].as_uri())
        assert page.evaluate("[...document.images].every(i => i.alt.length > 20)")
        assert page.evaluate("[...document.querySelectorAll('svg')].every(s => s.ariaLabel)")
        assert page.evaluate("document.querySelectorAll('h1').length") == 1
        scrolling = "[...document.querySelectorAll('.scroll, pre')]"
        assert page.evaluate(f"{scrolling}.length > 2 && {scrolling}.every(e => e.tabIndex == 0)")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')")


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
    assert compare(ours, 8).rows == ()
    assert "no figures for digits" in compare(ours, 8).statement

    real = {"value": 20.0, "samples": 50_000, "split": "train", "real_images": 50_000}
    real["definition"] = "a test's"

    def beside(
        name: str,
        metric: str,
        resolution: int = 32,
        latent_dim: int = 128,
        protocol: str = "paper,extractor=inception-v3",
        method: str = "dcvae",
        **counts: object,
    ):
        asked = read_protocol(protocol)
        if resolution == 32 and "clamp" not in protocol and asked.name == "paper":
            asked = asked.changed(latent_clamp=1.0)
        changed = {"method": method, "resolution": resolution}
        other = ours.model_copy(
            update={
                "dataset": ours.dataset.model_copy(update={"name": name}),
                "protocol": asked,
                "snapshot": ours.snapshot.model_copy(update=changed),
                "metrics": {metric: Metric(**{**real, **counts})},
            }
        )
        found = compare(other, latent_dim)
        return [(figure.value, figure.table) for figure, _ in found.rows], found.statement

    assert beside("CIFAR10", "fid_sampling")[0] == [(17.9, "Table 1")]
    assert beside("CIFAR10", "fid_sampling", method="vae")[0] == [(115.8, "Table 1")]
    assert beside("LSUN bedroom", "fid_sampling", 128)[0] == [(14.3, "Table 3")]
    tested = {"samples": 10_000, "real_images": None, "protocol": "held-out"}
    assert beside("mnist", "probe_error_mean", latent_dim=32, **tested)[0] == [(0.0127, "Table 5")]
    rows, statement = beside("CIFAR10", "fd_efficientnet_lite0_sampling", protocol="paper")
    assert rows == []
    assert "another quantity" in statement
    for rows, statement in (
        beside("CelebA", "fid_sampling", 64),
        beside("mnist", "probe_error_mean", latent_dim=8),
        beside("STL10", "fid_sampling", method="vae"),
    ):
        assert rows == []
        assert "other models" in statement
    inception = "extractor=inception-v3"
    lsun = {"name": "LSUN bedroom", "resolution": 128}
    for asked, sentence in (
        ({"protocol": f"held-out,{inception}"}, "differs in name, reference_split"),
        ({"protocol": f"paper,{inception},samples=10000"}, "differs in samples"),
        ({"protocol": f"paper,{inception},latent_clamp=2"}, "differs in latent_clamp"),
        ({"real_images": 300}, "takes 10,000 real images or more, and here are 300"),
    ):
        rows, statement = beside(**lsun, metric="fid_sampling", **asked)
        assert rows == [], asked
        assert sentence in statement
    rows, statement = beside(**lsun, metric="fid_reconstruction", samples=300)
    assert rows == [], "300 test images make no figure"
    assert "takes 10,000 real images or more, and here are 300" in statement
    few = {"metric": "probe_error_mean", "latent_dim": 16, "samples": 300}
    assert beside("mnist", **few)[0] == []


def test_a_curve_survives_odd_values():
    curve = Curve("a <loss>", [0, 1, 2, 3], [1.0, float("nan"), float("inf"), 2.0])
    drawing = str(svg(curve))
    assert "nan" not in drawing.lower().replace("inf", "")
    assert "a &lt;loss&gt;" in drawing
    assert svg(Curve("one point", [1], [1.0])) == ""
    assert "<path" in svg(Curve("flat", [1, 2], [3.0, 3.0]))


def test_ticks_are_round_and_inside():
    assert ticks(0.0128, 0.0320) == [0.015, 0.02, 0.025, 0.03]
    assert ticks(-0.57, 0.43) == [-0.5, -0.25, 0.0, 0.25]
    assert ticks(17.2, 46.1) == [20, 30, 40]
