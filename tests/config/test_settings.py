"""Settings: each is described and bounded, and what cannot be is refused in one sentence."""

import json

import pytest
from annotated_types import Ge, Gt

from dcvae.config import SETTINGS, Phase, parse_config
from dcvae.config.reference import refusals
from dcvae.config.section import OPERATIONAL
from dcvae.errors import UserError
from dcvae.presets import PRESETS, configure

FIELDS = SETTINGS | {f"phase {name}": field for name, field in Phase.model_fields.items()}
NUMBERS = (int, float, int | None)


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_described_and_every_number_bounded(name: str) -> None:
    field = FIELDS[name]
    assert field.description
    assert field.description.rstrip().endswith(".")
    if field.annotation in NUMBERS:
        assert any(isinstance(each, Ge | Gt) for each in field.metadata), "no lower bound"


@pytest.mark.parametrize("name", [n for n, f in SETTINGS.items() if f.annotation in NUMBERS])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-1", "true", '"8"'])
def test_no_number_is_infinite_negative_or_of_another_type(name: str, value: str) -> None:
    with pytest.raises(UserError, match=f"^{name}=.+ is not possible: input should be "):
        configure("digits", [f"{name}={value}"])


PHASES = [{"resolution": 16, "images": 8, "batch_size": 8}, {"resolution": 4, "images": 8}]
REFUSED = {
    "_autogan_has_one_resolution": ("cifar10", ["model.resolution=64"], "makes 32x32 images"),
    "_widths_narrow": ("digits", ["model.width_max=64"], "at least 4 x model.width_max = 256"),
    "_has_images": (
        "digits",
        ['training.phases=[{"resolution": 16, "images": 0, "batch_size": 8}]'],
        "the phase at resolution 16 has no images",
    ),
    "_phases_grow": (
        "digits",
        [f"training.phases={json.dumps([each | {'batch_size': 8} for each in PHASES])}"],
        "a model only grows",
    ),
    "_phases_end_at_the_model": ("digits", ["model.resolution=32"], "make them equal"),
    "_autogan_does_not_grow": (
        "cifar10",
        [
            f"training.phases={json.dumps([PHASES[0], PHASES[0] | {'resolution': 32}])}",
        ],
        "give every phase the resolution 32",
    ),
    "_autogan_keeps_activations": (
        "cifar10",
        ["training.checkpoint_activations_from=32"],
        "leave it out",
    ),
    "_augmentation_is_for_d": (
        "digits",
        ["objective.augment=true", "objective.method=vae"],
        "objective.method=vae has no D",
    ),
    "_the_penalty_is_not_clipped": (
        "digits",
        ["training.gradient_clipping=1"],
        "use objective.gan_loss=hinge or no clipping",
    ),
}
"""By its name: a preset and settings that each rule over several settings refuses, and what for."""


@pytest.mark.parametrize("rule", refusals())
def test_every_refusal_over_several_settings(rule: str) -> None:
    preset, settings, sentence = REFUSED[rule]
    with pytest.raises(UserError, match=sentence):
        configure(preset, settings)


def test_a_batch_that_ranks_cannot_divide_is_refused() -> None:
    config = configure("digits", ["training.accumulation=2"])
    config.check_ranks(16)
    with pytest.raises(UserError, match="does not divide over 3 ranks x 2 micro-batches"):
        config.check_ranks(3)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("name", SETTINGS)
def test_operational_settings_alone_may_change_on_resume(name: str) -> None:
    (section, _, key), config = name.partition("."), PRESETS["smoke"]
    fields = getattr(config, section).model_copy(update={key: 12345})  # a value of no preset
    other = config.model_copy(update={section: fields})
    assert (other.digest() == config.digest()) == (OPERATIONAL in SETTINGS[name].metadata)


def test_text_and_json_are_values() -> None:
    made = configure("digits", ["data.split=5", "data.cache_dir=7", "training.seed=3"])
    assert (made.data.split, made.data.cache_dir, made.training.seed) == ("5", "7", 3)
    assert configure("digits", ["data.cache_dir=none"]).data.cache_dir is None
    assert configure("digits", ['data.split="test"']).data.split == "test"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("objective.negativs=8", r"did you mean objective\.negatives"),
        ("seed=1", r"there is no setting 'seed' \(did you mean"),
        ("training.seed", "is not of the form key=value"),
        ("=1", "is not of the form key=value"),
        ("preset=smoke", "there is no setting 'preset'"),
        ("model.resolution=12", "model.resolution=12 is not a power of two"),
        ("training.adam_betas=[0, 1]", r"training\.adam_betas\.1=1 is not possible"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        configure("digits", [setting])


def test_a_saved_configuration_is_read_as_strictly() -> None:
    config = PRESETS["celebahq512"]
    content = json.loads(config.model_dump_json())
    assert parse_config(content) == config
    for key, value, sentence in (
        ("colour", 1, "there is no setting 'colour'"),
        ("model", {}, "training.phases end at resolution 512"),
        ("training", {}, r"the configuration lacks 'training\.phases'"),
    ):
        with pytest.raises(UserError, match=sentence):
            parse_config(content | {key: value})
