"""The plan: sizes that add up, without making a network."""

from dcvae.presets import configure
from dcvae.training.estimate import estimate


def test_sizes_of_the_released_networks() -> None:
    text = str(estimate(configure("cifar10"), 1))
    for number in ("1,086,464", "4,405,251", "1,059,986", "images: 40,000,000, steps: 125,000"):
        assert number in text


def test_zero_shares_the_moments() -> None:
    def moments(stage: int) -> float:
        text = str(estimate(configure("celebahq512", [f"training.zero_stage={stage}"]), 8))
        (line,) = [line for line in text.splitlines() if "moments" in line]
        return float(line.split()[1].replace(",", ""))

    assert abs(moments(0) / moments(1) - 8) < 0.05


def test_methods_without_a_dual_encoder_do_not_count_it() -> None:
    assert "dual encoder" not in str(estimate(configure("digits", ["objective.method=vae"]), 2))


def test_a_training_too_short_for_its_keys_is_told_so() -> None:
    short = ["objective.key_momentum=0.999"]
    text = str(estimate(configure("digits", short), 2))
    assert "steps: 1,250" in text
    assert "the keys are 1,000 steps behind D, much of so short a training" in text
    advised = text.partition("try ")[2].split()[0]
    for config in (configure("digits", [advised]), configure("cifar10"), configure("celebahq512")):
        assert "behind D" not in str(estimate(config, 2))
    assert "behind D" not in str(estimate(configure("digits", [*short, "objective.method=vae"]), 2))
