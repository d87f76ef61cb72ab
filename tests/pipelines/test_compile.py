"""The packages: what a cluster gets is pinned, typed, sized, and has no loose ends."""

import re
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import components as kfp_components

from components.base import IMAGE
from dcvae.environment import S3
from pipelines.command_line import main
from pipelines.graphs.line import COMPONENT, GPU, SECRET
from pipelines.kubeflow.package import experiments

ROOT = Path(__file__).parent.parent.parent
NAMES = sorted(each.name.removeprefix("dcvae-").replace("-", "_") for each in experiments())
CORE = {"shard", "train", "evaluate"}
ASKING = ("train", "evaluate", "register")
STEPS = CORE | {"numbers", "shard-part", "register", "compare"}
TYPES = {"STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "LIST", "STRUCT"}


@pytest.fixture(params=NAMES, scope="module")
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the command line writes."""
    file = tmp_path_factory.mktemp("packages") / f"{request.param}.yaml"
    pipeline = getattr(import_module(f"pipelines.{request.param}"), request.param)
    with redirect_stdout(StringIO()) as said, pytest.raises(SystemExit) as ended:
        main(pipeline, ["--compile", "--output", str(file)])
    assert ended.value.code == 0
    assert said.getvalue().strip() == str(file)
    return file


def documents(package: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, platforms = yaml.safe_load_all(package.read_text())
    return spec, platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def dags(spec: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(declared inputs, tasks) of the pipeline and of each of its loops."""
    parts = [spec["root"], *(c for c in spec["components"].values() if "dag" in c)]
    return [(part["inputDefinitions"]["parameters"], part["dag"]["tasks"]) for part in parts]


def test_the_sdk_loads_it_again(package: Path) -> None:
    loaded = kfp_components.load_component_from_file(str(package))
    assert loaded.name == f"dcvae-{package.stem.replace('_', '-')}"


def test_parameters_are_typed_described_and_have_defaults(package: Path) -> None:
    spec, _ = documents(package)
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert len(parameters) <= 16, "a form that is filled in a minute"
    for name, parameter in parameters.items():
        assert parameter["parameterType"] in TYPES, name
        assert "defaultValue" in parameter, name
        assert parameter.get("description"), name


def steps(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tasks that are steps, in the pipeline and in its loops, by the label of their executor.

    Tasks that do the same with the same settings share one.
    """
    found = {}
    for _, tasks in dags(spec):
        for task in tasks.values():
            component = spec["components"][task["componentRef"]["name"]]
            if "dag" not in component:
                found[component["executorLabel"]] = task
    return found


def test_steps_are_known_and_none_is_left_out(package: Path) -> None:
    spec, platform = documents(package)
    labels = set(steps(spec))
    assert labels == set(spec["deploymentSpec"]["executors"]) == set(platform)
    kinds = {re.sub(r"^exec-|-\d+$", "", label) for label in labels}
    assert CORE <= kinds <= STEPS


def test_steps_are_pinned_sized_retried_and_never_cached_by_parameters(package: Path) -> None:
    spec, platform = documents(package)
    for label, task in steps(spec).items():
        container = spec["deploymentSpec"]["executors"][label]["container"]
        assert container["image"] == IMAGE
        assert "pip install" not in " ".join(container["command"])
        sizes = container["resources"]
        for kind in ("Cpu", "Memory"):
            assert sizes[f"resource{kind}Request"] == sizes[f"resource{kind}Limit"]
        assert tries_fit_in_their_window(task["retryPolicy"])
        assert not task["cachingOptions"].get("enableCache", False)
        assert task["taskInfo"]["name"] not in spec["components"], "a title for people"
        settings = platform[label]
        assert settings["secretAsEnv"][0]["optional"]
        mounts = {mount["mountPath"] for mount in settings["emptyDirMounts"]}
        assert mounts == {"/tmp", "/dev/shm"}
        labels = {"app.kubernetes.io/component": COMPONENT}
        assert settings["podMetadata"]["labels"] == labels, "for the network policies"
        told = {each["name"]: each["value"] for each in container["env"]}
        assert told["DCVAE_PIPELINE"] == spec["pipelineInfo"]["name"]
        assert told["DCVAE_STEP"] == task["taskInfo"]["name"]
        gateways = settings["configMapAsEnv"]
        assert any(each["keyToEnv"][0]["envVar"] == "DCVAE_PUSHGATEWAY" for each in gateways)
        # Which user is the image's to say, or, on OpenShift, the namespace's.
        assert settings["securityContext"] == {"runAsNonRoot": True}


def tries_fit_in_their_window(policy: dict[str, Any]) -> bool:
    """Argo stops all tries when the window, from the first one's start, is over."""
    config = yaml.safe_load((ROOT / "k8s" / "base" / "config.yaml").read_text())
    longest = int(config["data"]["DCVAE_TRAINING_DEADLINE_SECONDS"])
    tries, pause = policy["maxRetryCount"] + 1, int(policy["backoffDuration"].rstrip("s"))
    return tries > 1 and int(policy["backoffMaxDuration"].rstrip("s")) > tries * (
        longest + 8 * pause
    )


def test_steps_with_a_gpu_may_go_where_gpus_are(package: Path) -> None:
    spec, platform = documents(package)
    found = set()
    for label in steps(spec):
        resources = spec["deploymentSpec"]["executors"][label]["container"]["resources"]
        tolerations = platform[label].get("tolerations", [])
        if "accelerator" in resources:
            assert resources["accelerator"]["resourceType"] == GPU
            wanted = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
            assert tolerations == [wanted], label
            found.add(re.sub(r"^exec-|-\d+$", "", label))
        else:
            assert not tolerations, label
    assert found <= {"evaluate"}, "no other step runs the model"


def test_the_clusters_launcher_keeps_its_own_storage(package: Path) -> None:
    """It reads AWS_ variables in the steps' container, for the artifacts of Kubeflow."""
    spec, platform = documents(package)
    for label in steps(spec):
        (secret,) = (s for s in platform[label]["secretAsEnv"] if s["secretName"] == SECRET)
        names = {each["secretKey"]: each["envVar"] for each in secret["keyToEnv"]}
        assert not [name for name in names.values() if name.startswith("AWS_")]
        assert set(names.values()) == set(S3.values()), "what dcvae.storage reads first"
        assert {name.removeprefix("DCVAE_S3_") for name in names.values()} == {
            key.removeprefix("AWS_") for key in names
        }


def test_steps_wait_for_a_storage_that_is_away(package: Path) -> None:
    spec, _ = documents(package)
    for label in steps(spec):
        env = spec["deploymentSpec"]["executors"][label]["container"]["env"]
        told = {each["name"]: each["value"] for each in env}
        assert float(told["DCVAE_STORAGE_PATIENCE"]) >= 900
        assert float(told["DCVAE_STORAGE_FIRST_PATIENCE"]) >= 60


def test_a_step_that_only_follows_takes_no_room(package: Path) -> None:
    spec, _ = documents(package)
    for label in steps(spec):
        resources = spec["deploymentSpec"]["executors"][label]["container"]["resources"]
        if re.fullmatch(r"exec-train(-\d+)?", label):
            sizes = resources["resourceCpuLimit"], resources["resourceMemoryLimit"]
            assert sizes == ("250m", "1Gi")


def test_a_model_remembers_the_run_it_came_from(package: Path) -> None:
    """By its id: the name is empty in the runs of a schedule."""
    spec, _ = documents(package)
    for label, task in steps(spec).items():
        if label == "exec-register":
            given = task["inputs"]["parameters"]["run"]["runtimeValue"]["constant"]
            assert given == "{{$.pipeline_job_uuid}}"


def test_a_training_needs_the_clusters_own_words_on_how_to_start_ranks(package: Path) -> None:
    spec, platform = documents(package)
    trainings = [label for label in steps(spec) if re.fullmatch(r"exec-train(-\d+)?", label)]
    assert trainings
    for label in trainings:
        required, optional = set(), set()
        for given in platform[label]["configMapAsEnv"]:
            names = {each["envVar"] for each in given["keyToEnv"]}
            (optional if given.get("optional") else required).update(names)
        assert "DCVAE_TRAINING_RUNTIME" in required
        assert optional == {"DCVAE_METRICS_PORT", "DCVAE_TRAINING_QUEUE", "DCVAE_PUSHGATEWAY"}
        container = spec["deploymentSpec"]["executors"][label]["container"]
        assert "accelerator" not in container["resources"], "the ranks have GPUs, not the step"


def test_how_to_measure_reaches_every_step_that_asks_for_it(package: Path) -> None:
    spec, _ = documents(package)
    declared = spec["root"]["inputDefinitions"]["parameters"]
    if "last" in declared:
        assert declared["last"]["defaultValue"] == 5
    for label, task in steps(spec).items():
        kind = re.sub(r"^exec-|-\d+$", "", label)
        wanted = {"weights", "perceptual_weights"} if kind in ASKING else set()
        wanted |= {"last", "select_by", "protocol"} if kind in ("train", "evaluate") else set()
        for name in wanted:
            given = task["inputs"]["parameters"][name]
            if name in declared:
                assert given["componentInputParameter"] == name
            else:  # models are compared after equally many images
                expected = {"last": 1, "select_by": "frechet_sampling"}[name]
                assert given["runtimeValue"]["constant"] == expected


def test_the_image_is_pinned_to_this_version() -> None:
    assert IMAGE.rpartition(":")[2] not in ("", "latest")


def test_no_parameter_dangles(package: Path) -> None:
    spec, _ = documents(package)
    for declared, tasks in dags(spec):
        used: set[str] = set()
        for task in tasks.values():
            component = spec["components"][task["componentRef"]["name"]]
            given = task["inputs"]["parameters"]
            loop = task.get("parameterIterator", {})
            required = component["inputDefinitions"]["parameters"]
            required = {n for n, each in required.items() if not each.get("isOptional")}
            assert required <= {*given, loop.get("itemInput")}
            for value in given.values():
                if "componentInputParameter" in value:
                    used.add(value["componentInputParameter"])
                elif "taskOutputParameter" in value:
                    source = value["taskOutputParameter"]
                    producer = tasks[source["producerTask"]]["componentRef"]["name"]
                    outputs = spec["components"][producer]["outputDefinitions"]["parameters"]
                    assert source["outputParameterKey"] in outputs
        # A loop also hands on the list that it runs over, which its steps need not see.
        assert used <= set(declared)
        assert {name for name in declared if not name.endswith("numbers-Output")} <= used
