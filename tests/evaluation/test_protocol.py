"""Protocols by name, with changes, and what cannot be one."""

import pytest

from dcvae.errors import UserError
from dcvae.evaluation.protocol import NAMED, RESIZE, Protocol, read_protocol
from dcvae.presets import PRESETS, configure


def test_the_papers_sets_are_measured_by_its_protocol_and_others_on_what_is_held_out():
    found = {name: read_protocol("", configure(name)) for name in PRESETS}
    paper = {name for name, protocol in found.items() if protocol.name == "paper"}
    assert paper == {"cifar10", "stl10", "celeba128", "celebahq512", "lsun_bedroom128"}
    for name in paper:
        protocol = found[name]
        assert (protocol.samples, protocol.latent) == (50_000, "sampled")
        assert (protocol.reference_split, protocol.reference_images) == ("train", None)
        assert protocol.reconstructed_split == "test"
        released = configure(name).model.resolution == 32
        assert protocol.latent_clamp == (1.0 if released else None)
        assert protocol.label == "paper v1"
    assert found["digits"] == NAMED["held-out"]
    assert (found["digits"].samples, found["digits"].latent) == (None, "mean")


def test_one_line_names_a_protocol_and_its_changes():
    protocol = read_protocol(
        " paper, samples=2000 ,latent_clamp=none, seed = 7", configure("stl10")
    )
    assert (protocol.samples, protocol.latent_clamp, protocol.seed) == (2000, None, 7)
    assert protocol.label == "paper v1, samples=2000, seed=7"
    assert read_protocol("samples=9", configure("digits")).label == "held-out v1, samples=9"
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol


def test_inceptions_weights_make_it_the_extractor_unless_the_line_says_otherwise():
    inception = read_protocol("paper", weights="s3://weights/inception.pth")
    assert (inception.extractor, inception.resize) == ("inception-v3", RESIZE["inception-v3"])
    assert inception.label == "paper v1, extractor=inception-v3"
    other = read_protocol("paper,extractor=efficientnet-lite0", weights="inception.pth")
    assert other == NAMED["paper"]


def test_a_place_is_anothers_when_anything_is_different():
    slugs = {NAMED[name].slug for name in NAMED}
    for change in ("samples=9", "latent_clamp=1", "latent=mean", "seed=1", "neighbourhoods=5"):
        slugs.add(read_protocol(f"paper,{change}").slug)
    assert len(slugs) == 7
    assert all(slug.startswith(("paper-v1-", "held-out-v1-")) for slug in slugs)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("papr", "no protocol 'papr'; there are: paper, held-out"),
        ("paper,sample=3", r"no 'sample' \(did you mean samples\?\)"),
        ("paper,samples", "not of the form FIELD=VALUE"),
        ("paper,samples=many", "samples cannot be 'many': input should be a valid integer"),
        ("paper,samples=1", "samples cannot be '1'"),
        ("paper,samples=-5", "samples cannot be '-5'"),
        ("paper,latent_clamp=nan", "latent_clamp cannot be 'nan'"),
        ("paper,latent_clamp=inf", "latent_clamp cannot be 'inf'"),
        ("paper,latent_clamp=-1", "latent_clamp cannot be '-1'"),
        ("paper,latent_clamp=0", "latent_clamp cannot be '0'"),
        ("paper,seed=-1", "seed cannot be '-1'"),
        (f"paper,seed={2**70}", "seed cannot be"),
        ("paper,extractor=vgg", "extractor cannot be 'vgg'"),
        ("paper,perceptual=alexnet", "perceptual cannot be 'alexnet'"),
        ("paper,name=held-out", "no 'name'"),
        ("paper,resize=none", "no 'resize'"),
        ("paper,reference_split=", "reference_split cannot be ''"),
    ],
)
def test_what_cannot_be_measured_by_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(UserError, match=sentence):
        read_protocol(text, configure("cifar10"))
