"""Kubeflow Pipelines itself: schedules, and what people see of a run in a real browser.

Needs Kubeflow with k8s/overlays/minikube or one like it, as ``make minikube`` leaves it, and its
address in KF_PIPELINES_ENDPOINT. The storage is the cluster's own.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.ablation import ablation
from pipelines.digits import digits
from pipelines.graphs.side_by_side import small_digits
from pipelines.kubeflow import submit
from pipelines.kubeflow.client import Kubeflow
from tests.processes import wait_until

STORAGE = os.environ.get("DCVAE_CLUSTER_STORAGE", "s3://mlpipeline/dcvae-tests")
EXPERIMENT = "dcvae-tests"
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(7200)]


@pytest.fixture
def kubeflow() -> Kubeflow:
    assert os.environ.get("KF_PIPELINES_ENDPOINT"), "set KF_PIPELINES_ENDPOINT"
    return Kubeflow()


def runs_of(kubeflow: Kubeflow, schedule: str) -> list[Any]:
    """The runs of a schedule."""
    group = kubeflow.experiment(EXPERIMENT)
    found = kubeflow.client.list_runs(experiment_id=group, page_size=100).runs or []
    return [run for run in found if run.recurring_run_id == schedule]


def test_a_schedule_has_one_run_at_a_time(kubeflow: Kubeflow) -> None:
    """Due every minute, each takes several: none begins before the last has ended. 15 minutes."""
    values = {"storage": f"{STORAGE}/scheduled"}
    submit.schedule(kubeflow, digits, values, "* * * * *", EXPERIMENT, "dcvae-test")
    group = kubeflow.experiment(EXPERIMENT)
    (kept,) = submit._present(kubeflow, group, "dcvae-test")
    try:
        wait_until(lambda: bool(runs_of(kubeflow, kept.recurring_run_id)), 180)
        until = time.monotonic() + 600
        while time.monotonic() < until:
            states = [str(run.state) for run in runs_of(kubeflow, kept.recurring_run_id)]
            assert sum(state in ("PENDING", "RUNNING") for state in states) <= 1, states
            time.sleep(10)
    finally:
        kubeflow.client.delete_recurring_run(kept.recurring_run_id)
        for run in runs_of(kubeflow, kept.recurring_run_id):
            kubeflow.client.runs.run_service_terminate_run(run_id=run.run_id)


@pytest.fixture
def page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1600, "height": 1200})
        browser.close()


def shown(page: Any, kubeflow: Kubeflow, run: str, step: str, picture: Path) -> str:
    """What the tab of visualizations of a step's node says, pages in frames included."""
    page.goto(f"{kubeflow.address}/runs/details/{run}")
    page.get_by_text(step, exact=False).first.click()
    page.get_by_text("Visualization", exact=True).click()
    page.wait_for_timeout(10_000)  # frames are filled after the page
    page.screenshot(path=str(picture), full_page=True)
    return "\n".join(frame.locator("body").inner_text() for frame in page.frames)


def test_the_report_and_the_card_are_seen_in_a_browser(
    kubeflow: Kubeflow, page: Any, tmp_path: Path
) -> None:
    """Evaluate shows its report, Register its model card. 20 minutes."""
    run = submit.submit(kubeflow, digits, {"storage": STORAGE}, EXPERIMENT, None)
    assert submit.wait(kubeflow, run, digits) == 0
    report = shown(page, kubeflow, run, "Evaluate", tmp_path / "report.png")
    assert "fd_efficientnet_lite0" in report, tmp_path
    card = shown(page, kubeflow, run, "Register", tmp_path / "card.png")
    assert "digits" in card, tmp_path


def test_the_comparison_is_seen_in_a_browser(kubeflow: Kubeflow, page: Any, tmp_path: Path) -> None:
    """Compare shows the page with four methods and the table. 60 minutes."""
    values = {"storage": STORAGE, **small_digits(1200)}
    run = submit.submit(kubeflow, ablation, values, EXPERIMENT, None)
    assert submit.wait(kubeflow, run, ablation) == 0
    text = shown(page, kubeflow, run, "Compare", tmp_path / "comparison.png")
    assert "DC-VAE" in text or "dcvae" in text, tmp_path
