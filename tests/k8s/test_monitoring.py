"""Alerts fire when they should, and a real Prometheus has data for all that is asked of it."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.rendered import K8S
from tests.launch.pushgateway import pushgateway
from tests.processes import free_port, wait_until

FOLDER = K8S / "components" / "monitoring"
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
WITHOUT_GPU = "DCGM_"  # metrics of an exporter that is not ours
# Enough images to last until it is stopped.
PHASES = [
    {"resolution": 4, "images": 64, "batch_size": 16},
    {"resolution": 8, "images": 1_000_000, "fade_images": 64, "batch_size": 16},
]


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The alerts as the operator hands them to Prometheus."""
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(RULES))
    return file


def test_each_alert_fires_when_it_should_and_only_then(rules: Path) -> None:
    promtool("check", "rules", rules)
    cases = (K8S.parent / "tests" / "k8s" / "alerts.yaml").read_text()
    (rules.parent / "cases.yaml").write_text(cases)
    promtool("test", "rules", rules.parent / "cases.yaml")
    (group,) = RULES["groups"]
    for rule in group["rules"]:
        assert cases.count(f"alertname: {rule['alert']}") >= 2, "one that fires, one that does not"
        assert rule["annotations"].keys() == {"summary", "description"}


def alert_measures() -> Iterator[str]:
    """What each alert compares with a number."""
    for rule in RULES["groups"][0]["rules"]:
        match = re.fullmatch(r"(.*\S)\s+(?:>|<|==)\s+[\d.]+", rule["expr"], re.DOTALL)
        assert match, rule["expr"]
        yield match[1]


def dashboard_queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            query = re.sub(r"\$(namespace|trainjob)", ".+", target["expr"])
            yield query.replace("$__rate_interval", "1m")


@contextmanager
def running(*command: str | Path, log: Path, **variables: str) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **variables}
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def training(folder: Path, port: int) -> Iterator[None]:
    """A real training that serves its metrics at ``port``, until the block ends."""
    python = [sys.executable, "-m", "dcvae"]
    command = [*python, "train", "--preset", "smoke", "--nproc", "1"]
    command += ["--data", str(folder / "data"), "--out", str(folder / "run")]
    command += ["--set", f"training.phases={json.dumps(PHASES)}"]
    told = {"DCVAE_METRICS_PORT": str(port), "OMP_NUM_THREADS": "1"}  # as on a cluster
    with running(*command, log=folder / "training.log", **told):
        yield


def cut_images(folder: Path, gateway: str) -> None:
    """A real step, which leaves its numbers with the gateway."""
    step = (
        "import sys\n"
        "from dcvae.sharding.shard import shard\n"
        "from dcvae.launch.pipeline_step import running_step\n"
        "with running_step() as told:\n"
        "    shard('sklearn:digits', sys.argv[1], resolution=8, progress=told)\n"
    )
    told = {"DCVAE_PUSHGATEWAY": gateway, "DCVAE_PIPELINE": "dcvae-digits", "DCVAE_STEP": "Cut"}
    subprocess.run(
        [sys.executable, "-c", step, str(folder / "data")],
        env={**os.environ, **told},
        check=True,
        capture_output=True,
    )


@contextmanager
def prometheus(folder: Path, rank: int, gateway: str, rules: Path) -> Iterator[str]:
    """A real Prometheus that scrapes rank and gateway, with the labels that PodMonitors give."""
    labels = {"namespace": "team", "trainjob": "dcvae-a", "pod": "dcvae-a-node-0-0"}
    ranks = {
        "job_name": "team/dcvae-ranks",
        "static_configs": [{"targets": [f"127.0.0.1:{rank}"], "labels": labels}],
    }
    steps = {
        "job_name": "team/dcvae-steps",
        "honor_labels": True,
        "static_configs": [
            {"targets": [gateway.removeprefix("http://")], "labels": {"namespace": "team"}}
        ],
    }
    content = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(rules)],
        "scrape_configs": [ranks, steps],
    }
    config, port = folder / "prometheus.yaml", free_port()
    config.write_text(yaml.safe_dump(content))
    promtool("check", "config", config)
    options = {
        "config.file": config,
        "storage.tsdb.path": folder / "tsdb",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
    with running(*command, log=folder / "prometheus.log"):
        yield f"http://127.0.0.1:{port}"


def answer(url: str, path: str, **query: str) -> Any:
    """The data that Prometheus answers, or None while it does not."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(query)}") as page:
            return json.load(page)["data"]
    except urllib.error.HTTPError as error:
        if error.code == 503:  # it starts
            return None
        raise AssertionError(f"{query}: {error.read().decode()}") from None
    except OSError:
        return None


def has_data(url: str, query: str) -> bool:
    found = answer(url, "query", query=query)
    return bool(found and found["result"])


def test_every_query_has_data_while_a_pipeline_runs(tmp_path: Path, rules: Path) -> None:
    port = free_port()
    queries = {*alert_measures(), *dashboard_queries()}
    waiting = {query for query in queries if WITHOUT_GPU not in query}
    assert len(waiting) > 20
    with pushgateway(tmp_path) as gateway:
        cut_images(tmp_path, gateway)
        with training(tmp_path, port), prometheus(tmp_path, port, gateway, rules) as url:
            deadline = time.monotonic() + 150
            while waiting and time.monotonic() < deadline:
                time.sleep(1)
                waiting = {query for query in waiting if not has_data(url, query)}
            assert not waiting, (tmp_path / "training.log").read_text()
            assert has_data(url, "max(dcvae_remaining_seconds) > 0"), "known with the first loss"
            for query in queries:
                assert has_data(url, query) == (WITHOUT_GPU not in query), "there is no GPU here"
            # Until its first step a training looks like one that stalls.
            wait_until(lambda: answer(url, "alerts")["alerts"] == [], 60)
            for name in ("namespace", "trainjob"):  # what the dashboard's lists offer
                assert answer(url, f"label/{name}/values", **{"match[]": "dcvae_images_total"})


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        own = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not own & cells, "panels overlap"
        assert max(x for x, _ in own) < 24
        cells |= own


def test_the_rendered_dashboard_is_the_file_and_ranks_are_told_their_port(tmp_path: Path) -> None:
    from tests.k8s.rendered import compose, of, render

    objects = render(compose(tmp_path, "monitoring"))
    configs = {config["metadata"]["name"]: config for config in of(objects, "ConfigMap")}
    assert json.loads(configs["dcvae-dashboard"]["data"]["dashboard.json"]) == DASHBOARD
    assert configs["dcvae-dashboard"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    port = int(configs["dcvae-cluster"]["data"]["DCVAE_METRICS_PORT"])
    (runtime,) = of(objects, "TrainingRuntime")
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "metrics-0", "containerPort": port}]
