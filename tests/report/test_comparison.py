"""Evaluations side by side."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser

from dcvae.errors import UserError
from dcvae.pictures import png, sheet
from dcvae.report.comparison import compare_evaluations
from tests.evaluation.written import metric, write_evaluation

from .pages import check_page, check_sandboxed

RECALL = "recall_efficientnet_lite0_reconstruction"
"""The longest names of measures must fit into a page, too."""


def write(folder: Path, distance: float, recall: float, **how: Any) -> str:
    metrics = {"fd": metric(distance, floor=3.0), RECALL: metric(recall, better="higher")}
    place = write_evaluation(folder, metrics, **how)
    (folder / "samples.png").write_bytes(png(sheet(torch.zeros(4, 1, 8, 8), 2)))
    return place


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A comparison of four methods, and one of a sweep."""
    folder = tmp_path_factory.mktemp("pages")
    methods = {name: write(folder / name, 7.0, 0.5) for name in ("vae", "vae_gan", "c", "dcvae")}
    sweep = {str(n): write(folder / str(n), 100.0 / n, 0.5) for n in (8, 64, 512)}
    compare_evaluations(methods, str(folder / "methods-page"), "Four methods")
    compare_evaluations(sweep, str(folder / "sweep-page"), "Negatives", sweep="negatives")
    return {name: folder / f"{name}-page" / "comparison.html" for name in ("methods", "sweep")}


@pytest.mark.parametrize(("name", "images", "drawings"), [("methods", 4, 0), ("sweep", 3, 2)])
def test_the_page_in_a_browser(
    browser: Browser, pages: dict[str, Path], name: str, images: int, drawings: int
) -> None:
    for width, scheme in ((390, "dark"), (1280, "light")):
        check_page(browser, pages[name], width, scheme, images, drawings)
    check_sandboxed(browser, pages[name], images, drawings)


def test_a_table_names_the_best_of_each_row(tmp_path):
    entries = {
        "VAE": write(tmp_path / "a", 10.0, 0.2),
        "DC-VAE": write(tmp_path / "b", 7.0, 0.9),
    }
    table = compare_evaluations(entries, str(tmp_path / "out"), "Four <methods>")
    assert table == {"fd": {"VAE": 10.0, "DC-VAE": 7.0}, RECALL: {"VAE": 0.2, "DC-VAE": 0.9}}
    html = (tmp_path / "out" / "comparison.html").read_text()
    assert html.count("<b>") == 2
    assert "<b>7</b>" in html
    assert "<b>0.9</b>" in html
    assert html.count("<img") == 2
    assert "Four &lt;methods&gt;" in html
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == table


def test_principal_components_stand_below_the_probe(tmp_path):
    sizes = {"16": (0.24, 0.22), "32": (0.21, 0.19)}
    entries = {
        size: write_evaluation(
            tmp_path / size, {"probe_error_mean": metric(error, components=components)}
        )
        for size, (error, components) in sizes.items()
    }
    compare_evaluations(entries, str(tmp_path / "out"), "Latent sizes")
    html = (tmp_path / "out" / "comparison.html").read_text()
    row = html.split("principal components of as many dimensions")[1].split("</tr>")[0]
    assert re.findall(r"<td class=\"n\">([\d.]+)</td>", row) == ["0.22", "0.19"]


def test_a_sweep_is_drawn_over_its_values(tmp_path):
    entries = {str(n): write(tmp_path / str(n), 100.0 / n, 0.5) for n in (512, 8, 64)}
    compare_evaluations(entries, str(tmp_path / "out"), "Negatives", sweep="negatives")
    html = (tmp_path / "out" / "comparison.html").read_text()
    assert html.count("<svg") == 2
    assert "fd over negatives, from 12.5 to 0.195" in html
    below = re.findall(r'<text x="([\d.]+)" y="162" text-anchor="\w+">(\d+)</text>', html)[:3]
    assert [label for _, label in below] == ["8", "64", "512"]
    low, middle, high = (float(x) for x, _ in below)
    assert middle - low == pytest.approx(high - middle, abs=0.2), "each is eight times the last"
    words = {"a": entries["8"], "b": entries["64"]}
    with pytest.raises(UserError, match="must be numbers, not a, b"):
        compare_evaluations(words, str(tmp_path / "out"), "Words", sweep="negatives")


def test_different_protocols_do_not_stand_side_by_side(tmp_path):
    entries = {
        "a": write(tmp_path / "a", 1.0, 1.0),
        "b": write(tmp_path / "b", 1.0, 1.0, protocol="held-out,samples=100"),
    }
    with pytest.raises(UserError, match=r"b cannot be compared with a: .* differ in samples"):
        compare_evaluations(entries, str(tmp_path / "out"), "x")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="2 evaluations"):
        compare_evaluations({"a": entries["a"]}, str(tmp_path / "out"), "x")
