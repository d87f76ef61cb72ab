"""Bad input: one clear sentence, exit code 2, nothing half-written."""

import json
from pathlib import Path

import pytest

from dcvae.cli import main
from dcvae.presets import configure
from dcvae.run_folder import RunFolder
from dcvae.storage import open_storage
from dcvae.storage.embedded import EmbeddedS3
from tests.evaluation.conftest import write_model

TRAIN = "train --preset smoke --out {new} --data"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence with which the command refuses ``arguments``."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    output, errors = capsys.readouterr()
    last = errors.splitlines()[-1]
    assert ended.value.code == 2, errors
    assert last.startswith("error: ")
    assert output == ""
    assert "Traceback" not in errors
    return last


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("trian", "no such command 'trian'. Did you mean 'train'?; see dcvae --help"),
        ("train --data x --out y", "missing option '--preset'; see dcvae train --help"),
        (f"{TRAIN} {{digits}} --nproc two", "invalid value for '--nproc'"),
        (f"{TRAIN} {{digits}} --nproc 0", "0 ranks cannot train"),
        (f"{TRAIN} {{digits}} --nproc 3", "does not divide over 3 ranks"),
        (
            f"{TRAIN} {{digits}} --nproc 2 --set training.metrics_port=65535",
            "2 ranks here need the ports 65535 to 65536, and ports end at 65535",
        ),
        (f"{TRAIN} {{digits}} --set training.sede=1", "there is no setting 'training.sede'"),
        (f"{TRAIN} {{digits}} --set training.seed", "is not of the form key=value"),
        (f"{TRAIN} {{digits}} --set model.resolution=24", "model.resolution=24 is not a power"),
        (f"{TRAIN} {{digits}} --set model.channels=3", "have 1 channels and the model has 3"),
        (f"{TRAIN} {{nowhere}}", "nowhere holds no complete shard set"),
        ("train --preset smok --data {digits} --out {new}", "did you mean smoke?"),
        ("train --preset celeba128 --data {digits} --out {new}", "shard the images again"),
        ("presets nothing", "there is no preset 'nothing'"),
        ("shard {empty} {new} --resolution 16", "{empty}"),
        ("shard {nowhere} {new} --resolution 16", "{nowhere}"),
        ("shard sklearn:digits {new} --resolution 24", "24"),
        ("shard sklearn:faces {new} --resolution 16", "sklearn:"),
        ("shard sklearn:digits ftp://host/x --resolution 16", "s3:// or file://"),
        ("shard sklearn:digits /sys/new --resolution 16", "cannot write file:///sys/new"),
        *(
            (f"shard sklearn:digits {{new}} --resolution 16 {option}", option.split()[0])
            for option in (
                *("--test nan", "--test inf", "--test -1", "--workers 0", "--workers -3"),
                *("--max-bad-fraction nan", "--max-bad-fraction 2"),
            )
        ),
        *(
            (f"sample {{digits}} --out {{new}}.png --seed {seed}", "--seed")
            for seed in ("-1", str(2**63), str(10**30))
        ),
        (f"{TRAIN} {{digits}} --set training.seed=-1", "training.seed"),
        (f"{TRAIN} {{digits}} --set training.seed={2**64}", "training.seed"),
        ("evaluate {nowhere} --data {digits} --out {new}", "{nowhere}"),
        (
            "register {nowhere} --evaluation x --registry {new} --name a --maximum b",
            "METRIC=NUMBER",
        ),
        ("register {nowhere} --evaluation x --registry {new} --name a", "{nowhere}"),
        ("sample {nowhere} --out {new}/x.png", "there is no folder"),
        ("sample {nowhere} --out {new}.jpg", "PNG"),
        ("sample {nowhere} --out {new}.png", "there is no model at {nowhere}"),
        ("reconstruct {nowhere} {nowhere}/a.png --out {new}.png", "there is no image file"),
    ],
)
def test_one_sentence_and_nothing_written(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    names = {name: tmp_path / name for name in ("empty", "nowhere", "new")}
    before = sorted(tmp_path.rglob("*"))
    said = refused(capsys, *(word.format(digits=digits, **names) for word in line.split()))
    assert sentence.format(**names) in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--latent-clamp nan", "the protocol's latent_clamp cannot be nan: input should be a fin"),
        ("--latent-clamp -1", "latent_clamp cannot be -1.0: input should be greater than 0"),
        ("--seed -1", "the protocol's seed cannot be -1: input should be greater than or equal"),
        (f"--seed {2**70}", "the protocol's seed cannot be 1180591620717411303424: input should"),
        ("--device tpu", "there is no device 'tpu' on this machine"),
        ("--samples 1", "the protocol's samples cannot be 1"),
        ("--protocol papr", "there is no protocol 'papr'; there are: paper, held-out"),
        ("--select-by beauty", "snapshots cannot be compared by 'beauty'"),
        ("--last 0", "invalid value for '--last'"),
        ("--split validation", "has no images in it"),
        ("--extractor vgg", "the protocol's extractor cannot be 'vgg'"),
    ],
)
def test_an_evaluation_is_refused_before_anything_is_measured(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, sentence: str
) -> None:
    model, out = write_model(tmp_path / "snapshot"), str(tmp_path / "out")
    words = ["evaluate", model, "--data", str(digits), "--out", out]
    said = refused(capsys, *words, "--reference", str(tmp_path / "kept"), *options.split())
    assert sentence in said
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot"]


def test_files_that_are_no_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").mkdir()
    for number in range(20):
        (tmp_path / "text" / f"{number}.png").write_text("these are words")
    said = refused(
        capsys, "shard", str(tmp_path / "text"), str(tmp_path / "new"), "--resolution", "16"
    )
    assert "not an image" in said
    assert not list((tmp_path / "new").rglob("manifest.json"))
    assert not list((tmp_path / "new").rglob("*.tar"))


def test_a_manifest_of_the_future(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((digits / "manifest.json").read_text()) | {"format_version": 99}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    said = refused(capsys, *TRAIN.format(new=tmp_path / "run").split(), str(tmp_path))
    assert "99" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["config.json", "result.json"])
def test_a_damaged_run_folder(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = tmp_path / "run"
    RunFolder(open_storage(str(run)), configure("smoke"), str(digits)).begin()
    for body in ("", "{", "null", "[]", "{}", '{"config": 1}', "[" * 100_000, '"\\ud800"', "\xff"):
        (run / name).write_bytes(body.encode("latin-1"))
        words = TRAIN.format(new=run).split()
        said = refused(capsys, *words, str(digits), "--nproc", "1")
        assert name in said, (body[:9], said)
    assert sorted(path.name for path in run.iterdir()) == sorted({"config.json", name})


def test_a_missing_bucket(s3: EmbeddedS3, capsys: pytest.CaptureFixture[str]) -> None:
    place = "s3://no-such-bucket/digits"
    said = refused(capsys, "shard", "sklearn:digits", place, "--resolution", "16")
    assert "no-such-bucket" in said


def test_wrong_credentials(
    s3_uri: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-this-one")
    said = refused(capsys, "shard", "sklearn:digits", s3_uri, "--resolution", "16")
    assert "credentials" in said
    assert "not-this-one" not in said


def test_the_doctor_names_what_is_wrong(
    s3: EmbeddedS3, s3_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, code in ((s3_uri, 0), ("s3://no-such-bucket/x", 1)):
        with pytest.raises(SystemExit) as ended:
            main(["doctor", place])
        assert ended.value.code == code
        level = "ok   " if code == 0 else "fail "
        assert f"\n{level} storage" in capsys.readouterr().out
