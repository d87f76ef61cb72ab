"""Registration, the gate and the champion, in a folder."""

import json
from pathlib import Path

import pytest

from dcvae.errors import UserError
from dcvae.evaluation.results import Candidate, Selection
from dcvae.promotion import register
from dcvae.registry import history, list_versions, promote, resolve
from dcvae.registry.champion import read_state
from dcvae.registry.versions import open_model

from .conftest import FD, write_evaluation, write_snapshot

PASS = {FD: 200.0}


def champion_of(bench) -> int | None:
    return read_state(open_model(bench.registry, "digits")).version


def registered(bench, tag: str, value: float = 100.0, thresholds=PASS, **how):
    return register(*bench.model(tag, value, **how), bench.registry, "digits", thresholds)


def test_the_first_model_that_meets_its_thresholds_is_the_champion(bench):
    result = registered(bench, "a")
    assert (result.version, result.champion, result.previous) == (1, True, None)
    assert result.uri == f"{bench.registry}/digits/versions/1"
    content = Path(resolve(f"{bench.registry}/digits").removeprefix("file://"))
    assert (content / "model.safetensors").read_bytes() == b"weights of a"
    assert {p.name for p in content.iterdir()} == {
        "model.safetensors",
        "config.json",
        "evaluation.json",
        "report.html",
        "model_card.md",
    }
    assert resolve(result.uri) == resolve(f"{bench.registry}/digits")


def test_a_snapshot_resolves_to_itself(bench):
    snapshot, _ = bench.model("a")
    assert resolve(snapshot) == snapshot


def test_a_model_above_its_threshold_is_registered_but_leads_nothing(bench):
    result = registered(bench, "a", 250.0)
    assert (result.version, result.champion) == (1, False)
    assert result.reason == f"{FD} is 250, above the allowed 200"
    with pytest.raises(UserError, match="no champion"):
        resolve(f"{bench.registry}/digits")


def test_a_worse_model_does_not_move_the_champion_a_better_one_does(bench):
    registered(bench, "a", 100.0)
    worse = registered(bench, "b", 100.5)
    assert (worse.version, worse.champion, worse.previous) == (2, False, 1)
    assert "worse than 100 of the champion, version 1" in worse.reason
    assert champion_of(bench) == 1
    better = registered(bench, "c", 99.0)
    assert (better.version, better.champion, better.previous) == (3, True, 1)
    assert champion_of(bench) == 3
    assert [(e.version, e.moved) for e in history(bench.registry, "digits")] == [
        (1, True),
        (2, False),
        (3, True),
    ]


def test_nan_never_passes(bench):
    snapshot, evaluation = bench.model("a")
    path = Path(evaluation, "evaluation.json")
    path.write_text(path.read_text().replace('"value":100.0', '"value":NaN'))
    result = register(snapshot, evaluation, bench.registry, "digits", PASS)
    assert not result.champion


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"protocol": "paper"}, "differ in protocol, reference_split"),
        ({"protocol": "held-out,samples=100"}, "differ in samples (protocol held-out v1, samples="),
        ({"protocol": "held-out,extractor=inception-v3"}, "differ in extractor"),
        ({"protocol": "held-out,reference_split=train"}, "differ in reference_split"),
        ({"fingerprint": "e" * 64}, "differ in dataset_fingerprint;"),
    ],
)
def test_numbers_of_another_protocol_are_not_compared(bench, how, sentence):
    registered(bench, "a", 100.0)
    result = registered(bench, "b", 1.0, **how)
    assert not result.champion
    assert sentence in result.reason
    assert champion_of(bench) == 1


def test_a_model_of_which_nothing_comparable_was_measured_does_not_lead(bench, tmp_path):
    registered(bench, "a", 100.0)
    snapshot = write_snapshot(tmp_path / "s", b"others")
    values = {"pixel_distance": 10.0}
    evaluation = write_evaluation(tmp_path / "e", b"others", values)
    result = register(snapshot, evaluation, bench.registry, "digits", {})
    assert not result.champion
    assert "nothing was measured that it could be compared by" in result.reason


def test_a_threshold_of_what_was_left_out_says_why(bench, tmp_path):
    snapshot = write_snapshot(tmp_path / "s")
    left_out = {FD: "a Fréchet distance needs 2 images or more in each set"}
    values = {"pixel_distance": 10.0}
    evaluation = write_evaluation(tmp_path / "e", values=values, left_out=left_out)
    with pytest.raises(UserError, match="was not measured: a Fréchet distance needs 2 images"):
        register(snapshot, evaluation, bench.registry, "digits", PASS)


def test_the_lineage_says_which_snapshots_it_was_chosen_from(bench, tmp_path):
    snapshot = write_snapshot(tmp_path / "s")
    places = [
        Candidate(images=64, weights_sha256="1" * 64, value=200.5),
        Candidate(images=128, weights_sha256="2" * 64, value=100.25),
        Candidate(images=192, weights_sha256="3" * 64, value=None, problem="it diverged"),
    ]
    selection = Selection(by="frechet_sampling", samples=10_000, candidates=places, chosen=128)
    evaluation = write_evaluation(tmp_path / "e", selection=selection)
    result = register(snapshot, evaluation, bench.registry, "digits", PASS)
    (version,) = list_versions(bench.registry, "digits")
    assert version.lineage["selection"] == selection.model_dump(mode="json")
    card = Path(resolve(result.uri).removeprefix("file://"), "model_card.md").read_text()
    assert "| 64 | 200.5 |" in card
    assert "| 128 (this one) | 100.2 |" in card
    assert "| 192 | it diverged |" in card


def test_the_same_content_is_the_same_version_and_the_same_decision(bench):
    first = registered(bench, "a")
    assert registered(bench, "a") == first
    assert len(list_versions(bench.registry, "digits")) == 1
    assert len(history(bench.registry, "digits")) == 1


def test_a_repeated_step_does_not_undo_a_promotion_by_hand(bench):
    registered(bench, "a", 100.0)
    registered(bench, "b", 90.0)
    promote(bench.registry, "digits", 1, "version 2 draws sevens only")
    again = registered(bench, "b", 90.0)
    assert again.champion
    assert champion_of(bench) == 1
    last = history(bench.registry, "digits")[-1]
    assert (last.by, last.version, last.previous) == ("hand", 1, 2)
    assert last.reason == "version 2 draws sevens only"


def test_other_thresholds_are_judged_anew(bench):
    assert not registered(bench, "a", 250.0).champion
    assert registered(bench, "a", 250.0, thresholds={FD: 300.0}).champion


def test_a_threshold_of_an_unmeasured_metric_is_refused_before_anything_is_written(bench):
    with pytest.raises(UserError, match=f"fid_sampling, which was not measured; there are: {FD}"):
        registered(bench, "a", thresholds={"fid_sampling": 10.0})
    assert not Path(bench.registry).exists()


def test_the_evaluation_of_other_weights_is_refused(bench):
    snapshot, _ = bench.model("a")
    _, evaluation = bench.model("b")
    with pytest.raises(UserError, match="evaluation is of other weights"):
        register(snapshot, evaluation, bench.registry, "digits", PASS)
    assert not Path(bench.registry).exists()


def test_a_changed_byte_in_the_snapshot_is_refused(bench):
    snapshot, evaluation = bench.model("a")
    Path(snapshot, "model.safetensors").write_bytes(b"weights of A")
    with pytest.raises(UserError, match="is damaged"):
        register(snapshot, evaluation, bench.registry, "digits", PASS)


def test_a_changed_byte_in_the_registry_is_refused(bench):
    result = registered(bench, "a")
    content = Path(resolve(result.uri).removeprefix("file://"))
    config = json.loads((content / "config.json").read_text())
    config["weights_sha256"] = "0" * 64
    (content / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="bytes were changed"):
        resolve(result.uri)


def test_missing_things_are_named(bench, tmp_path):
    with pytest.raises(UserError, match="no version 7"):
        promote(bench.registry, "digits", 7)
    with pytest.raises(UserError, match="no model at"):
        resolve(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="cannot name a model"):
        register("x", "y", bench.registry, "../digits", PASS)
    snapshot = write_snapshot(tmp_path / "s")
    with pytest.raises(UserError, match=r"no evaluation\.json"):
        register(snapshot, str(tmp_path / "none"), bench.registry, "digits", PASS)


def test_records_of_a_later_version_are_refused(bench, tmp_path):
    snapshot = write_snapshot(tmp_path / "s")
    evaluation = write_evaluation(tmp_path / "e")
    path = Path(evaluation, "evaluation.json")
    path.write_text(path.read_text().replace('"format_version":2', '"format_version":9'))
    with pytest.raises(UserError, match="format version 9"):
        register(snapshot, evaluation, bench.registry, "digits", PASS)


def test_the_card_says_what_the_model_is(bench):
    snapshot, evaluation = bench.model("a")
    result = register(
        snapshot, evaluation, bench.registry, "digits", PASS, lineage={"run": "nightly|7 <b>"}
    )
    card = Path(resolve(result.uri).removeprefix("file://"), "model_card.md").read_text()
    assert f"| `{FD}` | 100 | – | 360 |" in card
    assert r"| run | nightly\|7 \<b\> |" in card
    assert 'dcvae.load("<registry>/digits")' in card
    assert "{{" not in card
