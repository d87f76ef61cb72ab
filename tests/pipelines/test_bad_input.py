"""The command line of a pipeline with what it cannot use: one sentence, exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcvae.storage import ObjectInfo
from pipelines import local
from pipelines.command_line import main
from pipelines.digits import digits

ROOT = Path(__file__).parent.parent.parent


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
        (["--compile", "--set", 'maximum={"pixel_distance": NaN}'], "maximum is written like"),
        (["--compile", "--set", "settings=[1,2]"], 'settings is written like ["a=1"]'),
        (
            ["--compile", "--set", 'settings=["training.seed=x"]'],
            "training.seed='x' is not possible",
        ),
        (["--compile", "--set", 'settings=["sede=1"]'], "there is no setting 'sede'"),
        (["--compile", "--set", "preset=digit"], "there is no preset 'digit'"),
        (
            ["--compile", "--set", "shard_options=--splits x"],
            "'x' is not one of 'auto', 'folders', 'none'",
        ),
        (
            ["--compile", "--set", "shard_options=--labels 'a"],
            "cannot be read: No closing quotation",
        ),
        (["--compile", "--set", "shard_options=--test 3"], "no such option: --test"),
        (["--compile", "--set", "shard_options=--help"], "no such option: --help"),
        (["--compile", "--set", "ranks=" + "9" * 40], "ranks is written like 2"),
        (["--compile", "--set", "ranks=Infinity"], "ranks is written like 2"),
        (["--compile", "--set", "settings=" + "[" * 5000], "settings is written like"),
        (["--compile", "--output", "{tmp}/file/x.yaml"], "{tmp}/file"),
        (["--compile", "--output", "{tmp}/file/below/x.yaml"], "cannot be written"),
        (["--compile", "--output", "{tmp}/" + "a" * 300 + ".yaml"], "cannot be written"),
    ],
)
def test_refused_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["pipelines/digits.py"])
    (tmp_path / "file").write_text("a file")
    words = [word.replace("{tmp}", str(tmp_path)) for word in arguments]
    if "--compile" in words and "--output" not in words:
        words += ["--output", str(tmp_path / "x.yaml")]
    with pytest.raises(SystemExit) as ended:
        main(digits, words)
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert sentence.replace("{tmp}", str(tmp_path)) in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_ascii_terminal_a_full_disk_and_no_home_are_survived(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "HOME"}
    environment |= {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, str(ROOT / "pipelines/digits.py"), "--compile", "--output", "ü.yaml"],
            cwd=tmp_path,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
    assert done.returncode == 2
    assert (tmp_path / "ü.yaml").stat().st_size > 1000, "the package itself is there"


@pytest.mark.parametrize("mode", ["--compile", "--local"])
def test_a_folder_that_cannot_be_written(mode: str) -> None:
    """/sys is one in which not even root can write."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "pipelines/digits.py"), mode],
        cwd="/sys",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "cannot be written (Operation not permitted): run it from a folder that" in done.stderr
    assert "run it from a folder that can be" in done.stderr
    assert done.stderr.count("\n") == 1


def test_keys_of_a_bucket_name_no_place_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bucket:
        def list(self) -> list[ObjectInfo]:
            return [ObjectInfo("../../outside", 1, "x")]

    monkeypatch.setattr("dcvae.registry.resolve", lambda uri: uri)
    monkeypatch.setattr(local, "open_storage", lambda uri: Bucket())
    with pytest.raises(Exception, match="no valid object key"):
        local._copy_model("s3://b/x", tmp_path / "a" / "b")
    assert list(tmp_path.rglob("*")) == []
