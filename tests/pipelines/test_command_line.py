"""The command line of a pipeline file, and what its form refuses."""

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
