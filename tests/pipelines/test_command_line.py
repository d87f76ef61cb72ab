"""The command line of a pipeline file, and what it refuses before anything is made."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from dcvae.errors import UserError
from pipelines import form
from tests.pipelines.test_compile import NAMES, ROOT


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"pipelines/{name}.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_settings_become_defaults_and_the_image_can_be_chosen(tmp_path: Path) -> None:
    file = tmp_path / "digits.yaml"
    image = "registry.example/team/dcvae@sha256:" + "0" * 64
    changes = ("--set", 'settings=["training.seed=1"]', "--set", "objective.method=vae")
    done = run("digits", "--compile", "--output", str(file), "--image", image, *changes)
    assert done.returncode == 0, done.stderr
    spec, _ = yaml.safe_load_all(file.read_text())
    defaults = spec["root"]["inputDefinitions"]["parameters"]
    assert defaults["settings"]["defaultValue"] == ["training.seed=1", "objective.method=vae"]
    executors = spec["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {image}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            [],
            "one of the arguments --compile --local --submit --schedule is required; see digits.py",
        ),
        (["--compile", "--set", "rank=2"], "no parameter 'rank' (did you mean ranks?)"),
        (["--compile", "--set", "ranks"], "--set ranks is not of the form name=value"),
        (["--compile", "--set", "training.sed=1"], "(did you mean training.seed"),
        (["--compile", "--set", "training.seed=-1"], "training.seed=-1 is not possible"),
        (["--compile", "--set", 'settings=["seed=1"]'], "there is no setting 'seed'"),
        (["--compile", "--set", "preset=digit"], "no preset 'digit' (did you mean digits?)"),
        (["--compile", "--set", "ranks=two"], "ranks is written like 2"),
        (["--compile", "--image", "dcvae"], "the image dcvae must be pinned"),
        (["--compile", "--image", "dcvae:latest"], "the image dcvae:latest must be pinned"),
        (["--compile", "--output", "{tmp}/x.json"], "a pipeline package is a .yaml file"),
        (["--compile", "--set", "name=Digits"], "'Digits' cannot name a model"),
        (["--schedule", "@daily", "--set", f"name={'a' * 64}"], "use 1 to 63 lower-case letters"),
        (["--local", "--set", "registry=wandb"], "no registry 'wandb'; use one of: s3, kubeflow"),
        (
            ["--submit", "--set", 'maximum={"fid_sampling": 40}'],
            "maximum asks for fid_sampling, which held-out v1 does not measure; there",
        ),
        (
            ["--compile", "--set", 'maximum={"recall_efficientnet_lite0_sampling": 1}'],
            "recall_efficientnet_lite0_sampling is better when higher",
        ),
        (
            ["--compile", "--set", 'maximum={"pixel_distance": "low"}'],
            "the maximum of pixel_distance is 'low', which is not a number",
        ),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = run("digits", *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["--local", "--compile"])
def test_a_folder_that_cannot_be_written_is_told(mode: str) -> None:
    file = ROOT / "pipelines" / "digits.py"
    done = subprocess.run(
        [sys.executable, str(file), mode], cwd="/sys", capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "cannot be written (Operation not permitted): run it from a folder" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_importing_a_pipeline_only_defines_it(name: str) -> None:
    pipeline = getattr(import_module(f"pipelines.{name}"), name)
    assert pipeline.name == f"dcvae-{name.replace('_', '-')}"
    assert pipeline.pipeline_spec.pipeline_info.display_name.startswith("DC-VAE")
    assert pipeline.description


def test_maxima_are_those_of_the_chosen_extractor() -> None:
    celebahq = import_module("pipelines.celebahq").celebahq
    inception = {"weights": "s3://x/inception.pth", "maximum": {"fid_sampling": 40.0}}
    form.check(celebahq, inception)
    with pytest.raises(UserError, match=r"inception-v3 does not measure; there are: .*fid_samp"):
        form.check(celebahq, {**inception, "maximum": {"fd_inception_v3_sampling": 40.0}})
    asked = {**inception, "protocol": "paper,extractor=efficientnet-lite0"}
    with pytest.raises(UserError, match="maximum asks for fid_sampling, which paper v1 does not"):
        form.check(celebahq, asked)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"protocol": "papr"}, "no protocol 'papr'"),
        ({"protocol": "paper,samples=none,latent_clamp=-1"}, "latent_clamp cannot be '-1'"),
        ({"protocol": "paper,extractor=inception"}, "extractor cannot be 'inception'"),
        ({"select_by": "beauty"}, "cannot be compared by 'beauty'"),
        ({"last": 0}, "the last 0 snapshots cannot be looked at; give 1 or more"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused_with_the_form(
    values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        form.check(import_module("pipelines.cifar10").cifar10, values)
    if "protocol" in values:
        with pytest.raises(UserError, match=sentence):
            form.check(import_module("pipelines.ablation").ablation, values)


def test_each_experiment_says_by_which_protocol_it_measures() -> None:
    said = {}
    for name in NAMES:
        pipeline = getattr(import_module(f"pipelines.{name}"), name)
        declared = pipeline.pipeline_spec.root.input_definitions.parameters
        said[name] = declared["protocol"].default_value.string_value
    paper = {name for name, protocol in said.items() if protocol == "paper"}
    assert paper == {"cifar10", "stl10", "celeba", "celebahq", "lsun_bedroom"}
    assert {said[name] for name in said.keys() - paper} == {"", "held-out"}
