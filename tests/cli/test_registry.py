"""The verbs of a registry and of comparisons, and JSON wherever there is a table."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from dcvae.cli import app, main
from tests.registry.conftest import FD, write_evaluation, write_snapshot


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder, with a space, that has three models and their evaluations."""
    place = tmp_path / "my models"
    for tag, value in (("a", 100.0), ("b", 120.0), ("c", 90.0)):
        weights = tag.encode()
        write_snapshot(place / tag / "snapshot", weights)
        write_evaluation(place / tag / "evaluation", weights, {FD: value, "pixel_distance": 9.5})
    return place


@pytest.fixture
def dcvae(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Path) -> Any:
    """What a command, as a list of words, prints in that folder."""
    monkeypatch.chdir(place)

    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        output, errors = capsys.readouterr()
        assert ended.value.code == code, errors
        return output if code == 0 else errors

    return run


@pytest.fixture
def registry(dcvae: Any) -> str:
    """The three registered; the third leads."""
    for tag in "abc":
        words = ["register", f"{tag}/snapshot", "--evaluation", f"{tag}/evaluation"]
        dcvae(*words, "--registry", "models", "--name", "digits", "--lineage", f"run={tag}")
    return "models"


def test_models_and_versions_are_listed(dcvae: Any, registry: str) -> None:
    assert dcvae("models", registry).splitlines() == [
        "model   versions  champion",
        "digits  3         3",
    ]
    assert json.loads(dcvae("models", registry, "--json")) == [
        {"name": "digits", "versions": 3, "champion": 3}
    ]
    text = dcvae("models", f"{registry}/digits")
    assert "version 3 (champion): smoke, 128 images" in text
    table = [line.split() for line in text.splitlines()]
    assert [FD, "100", "120", "90"] in table
    assert ["measure", "@1", "@2", "@3"] in table
    versions = json.loads(dcvae("models", f"{registry}/digits/", "--json"))
    assert [(v["version"], v["champion"]) for v in versions] == [(1, False), (2, False), (3, True)]
    assert versions[1]["lineage"]["run"] == "b"
    assert "there are no models at nothing" in dcvae("models", "nothing", code=2)


def test_promote_moves_the_champion_and_history_tells_it(dcvae: Any, registry: str) -> None:
    model = f"{registry}/digits"
    said = dcvae("promote", f"{model}@1", "--reason", "version 3 draws sevens only")
    assert said == "models/digits: the champion is version 1, was version 3\n"
    assert dcvae("promote", f"{model}@1") == "models/digits: version 1 is the champion already\n"
    events = json.loads(dcvae("history", model, "--json"))
    assert [(e["by"], e["version"], e["moved"]) for e in events] == [
        ("gate", 1, True),
        ("gate", 2, False),
        ("gate", 3, True),
        ("hand", 1, True),
    ]
    last = dcvae("history", model).splitlines()[-1]
    assert last.split()[1:5] == ["hand", "1", "leads", "3"]
    assert last.endswith("version 3 draws sevens only")
    assert json.loads(dcvae("promote", f"{model}@3", "--json")) == {
        "model": model,
        "champion": 3,
        "previous": 1,
    }
    assert "has no version 9" in dcvae("promote", f"{model}@9", code=2)
    assert "write its number behind it: models/digits@1" in dcvae("promote", model, code=2)
    assert "write its number" in dcvae("promote", f"{model}@champion", code=2)
    assert "nothing was decided about models/faces" in dcvae("history", "models/faces", code=2)


def test_compare_takes_evaluations_and_registered_versions(dcvae: Any, registry: str) -> None:
    table = [
        line.split() for line in dcvae("compare", "a/evaluation", "models/digits@2").splitlines()
    ]
    assert table[0] == ["measure", "evaluation", "digits@2"]
    assert [FD, "100", "120"] in table
    words = [
        "compare",
        "a/evaluation",
        "models/digits@champion",
        "--label",
        "old",
        "--label",
        "new",
    ]
    content = json.loads(dcvae(*words, "--out", "two models", "--json"))
    assert content == {FD: {"old": 100, "new": 90}, "pixel_distance": {"old": 9.5, "new": 9.5}}
    page = Path("two models/comparison.html").read_text()
    assert "<!doctype html>" in page.lower()
    same = dcvae("compare", "a/evaluation", "b/evaluation").splitlines()[0].split()
    assert same == ["measure", "a/evaluation", "b/evaluation"], "told apart by the whole of it"
    assert "needs 2 evaluations or more" in dcvae("compare", "a/evaluation", code=2)
    assert "is named twice" in dcvae("compare", "a/evaluation", "a/evaluation", code=2)
    assert "2 evaluations have 1 labels" in dcvae(*words[:5], code=2)
    write_evaluation(Path("other"), b"a", {FD: 1.0}, protocol="held-out,samples=10")
    assert "differ in samples" in dcvae("compare", "a/evaluation", "other", code=2)


def test_register_says_all_that_it_was_told(dcvae: Any, registry: str) -> None:
    words = ["register", "b/snapshot", "--evaluation", "b/evaluation", "--registry", registry]
    words += ["--name", "digits"]
    assert "not champion (version 1 before): " in dcvae(*words)
    said = json.loads(dcvae(*words, "--json"))
    assert said["version"] == 2
    assert said["champion"] is False
    assert said["previous"] == 1
    assert "worse than 100 of the champion, version 1" in said["reason"]
    wrong = dcvae(*words, "--lineage", "run", code=2)
    assert "--lineage run is not of the form KEY=VALUE" in wrong


def test_a_number_that_json_has_not_is_null(dcvae: Any) -> None:
    write_evaluation(Path("nan"), b"a", {FD: float("nan")})
    table = json.loads(dcvae("compare", "a/evaluation", "nan", "--json"))
    assert table[FD] == {"evaluation": 100, "nan": None}


TABLES = {
    "shard": ["shard", "sklearn:digits", "{tmp}/digits", "--resolution", "4"],
    "inspect": ["inspect", "{digits}"],
    "train": ["train", "--preset", "smoke", "--data", "{digits}", "--out", "{tmp}/x", "--dry-run"],
    "presets": ["presets"],
    "doctor": ["doctor", "{tmp}"],
    "evaluate": [],
    "compare": [],
    "register": [],
    "promote": [],
    "models": [],
    "history": [],
}
"""Verbs that show a table; those without words here have tests of their own."""


def test_whatever_shows_a_table_has_json() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    offered = {
        name for name, verb in commands.items() if any("--json" in p.opts for p in verb.params)
    }
    assert offered >= set(TABLES)


@pytest.mark.parametrize("verb", [verb for verb, words in TABLES.items() if words])
def test_json_is_json_alone(dcvae: Any, digits: Path, tmp_path: Path, verb: str) -> None:
    words = [word.format(tmp=tmp_path, digits=digits) for word in TABLES[verb]]
    content = json.loads(dcvae(*words, "--json"))
    wanted: dict[str, Any] = {
        "shard": lambda: content["name"] == "digits",
        "inspect": lambda: list(content["splits"]) == ["train", "test"],
        "train": lambda: content["parameters"]["encoder"] > 100,
        "presets": lambda: content[0]["preset"] == "cifar10",
        "doctor": lambda: {each["level"] for each in content} <= {"ok", "note", "fail"},
    }
    assert wanted[verb]()


def test_an_evaluation_is_shown_whole(dcvae: Any, digits: Path, tmp_path: Path) -> None:
    import torch

    from dcvae.models import DCVAE
    from dcvae.presets import configure
    from dcvae.snapshot import save_snapshot
    from dcvae.storage import open_storage

    torch.manual_seed(0)
    dataset = {"uri": "x", "name": "digits", "fingerprint": "a" * 64}
    save_snapshot(open_storage("new"), DCVAE(configure("smoke")), images=0, dataset=dataset)
    words = ["evaluate", "new", "--data", str(digits), "--out", "result", "--samples", "16"]
    content = json.loads(dcvae(*words, "--json"))
    assert content == json.loads(Path("result/evaluation.json").read_text())
    assert dcvae(*words).splitlines()[-1] == "report: result/report.html"
