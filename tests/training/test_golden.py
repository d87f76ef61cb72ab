"""No change moves the losses of a training unnoticed."""

import copy

from tests.training import golden


def test_the_golden_curve() -> None:
    difference = golden.first_difference(golden.read(), golden.curve())
    assert difference is None, (
        f"the golden loss curve has moved: {difference}. If that is meant, renew it with "
        "`python -m tests.training.golden`, and say so with the reason in the commit and the "
        "changelog"
    )


def test_it_covers_growth_fading_and_both_backbones() -> None:
    records = golden.read()
    assert {(r["run"], r["resolution"]) for r in records} == {
        ("progan", 4),
        ("progan", 8),
        ("autogan", 32),
    }
    assert any(0 < float(r["fade"]) < 1 for r in records)
    terms = {"gan_discriminator", "gan_generator", "kl", "kl_contrastive"}
    terms |= {"instance_low", "instance_high", "accuracy_low", "accuracy_high"}
    assert all(terms <= r.keys() for r in records)
    assert "instance_patch" in records[-1 - sum(r["run"] == "autogan" for r in records)]


def test_a_small_difference_is_found() -> None:
    expected = golden.read()
    moved = copy.deepcopy(expected)
    moved[3]["kl"] = float(moved[3]["kl"]) * (1 + 1e-8)
    difference = golden.first_difference(expected, moved)
    assert difference is not None
    assert "after 32 images of progan, kl is " in difference
    assert golden.first_difference(expected, expected[:-1]) is not None
