"""All layers at once and several sets in one pass: what one layer and one set at a time give."""

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dcvae.models.autogan import AutoganDualEncoder, Block, Encoder
from dcvae.presets import configure

SIZES = (4, 6, 3)
CONFIG = configure("cifar10", ["model.encoder_width=8", "model.latent_dim=6"]).model


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True, params=[False, True], ids=["together", "apart"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How several sets pass: as on a GPU, and as on a processor."""
    monkeypatch.setattr(AutoganDualEncoder, "one_by_one", request.param)


def pair() -> tuple[AutoganDualEncoder, AutoganDualEncoder]:
    """D twice; the second one is for :func:`one_by_one`."""
    first = AutoganDualEncoder(CONFIG)
    return first, copy.deepcopy(first)


def images() -> list[Tensor]:
    return [torch.rand(n, 3, 32, 32) * 2 - 1 for n in SIZES]


def one_by_one(d: AutoganDualEncoder, x: Tensor) -> Tensor:
    """The score of one set, every layer by its own parametrization."""
    for block in (d.trunk.block1, d.trunk.block2, d.trunk.block3, d.trunk.block4):
        x = through(block, x)
    return d.score_head(d.dense(F.relu(x).sum((2, 3))))[:, 0]


def through(block: Block, x: Tensor) -> Tensor:
    h = block.c2(F.relu(block.c1(x if block.first else F.relu(x))))
    if block.shortcut is None:
        return x + h
    return F.avg_pool2d(h + block.shortcut(x), 2)


def assert_equal(found: Tensor | None, expected: Tensor | None, what: str) -> None:
    if expected is None:
        assert found is None, what
    else:
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10, msg=what)


def assert_equal_state(found: AutoganDualEncoder, expected: AutoganDualEncoder) -> None:
    for name, value in expected.state_dict().items():
        assert_equal(found.state_dict()[name], value, name)


def test_scores_gradients_and_vectors() -> None:
    together, alone = pair()
    for _ in range(2):  # the second time with the vectors that the first has left
        parts = images()
        found = together(parts, 32, 1.0, "score")
        expected = [one_by_one(alone, part) for part in parts]
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_equal(a, b, f"scores of part {k}")
        for scores in (found, expected):
            sum((k + 1) * s.square().sum() for k, s in enumerate(scores)).backward()  # type: ignore[union-attr]
        gradients = {name: p.grad for name, p in alone.named_parameters()}
        for name, parameter in together.named_parameters():
            assert_equal(parameter.grad, gradients[name], name)
    assert_equal_state(together, alone)


def test_second_derivatives() -> None:
    """The gradient penalty differentiates a gradient."""
    networks = pair()
    x = images()[0]
    scores = (lambda network, x: network([x], 32, 1.0, "score")[0], one_by_one)
    for network, score in zip(networks, scores, strict=True):
        mixture = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(score(network, mixture).sum(), mixture, create_graph=True)
        slope.square().sum().backward()
    for (name, a), b in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
        assert_equal(a.grad, b.grad, name)


def test_layers_that_take_no_part_do_not_iterate() -> None:
    d, before = pair()
    d(images()[:1], 32, 1.0, "embed")
    after = d.state_dict()
    for name, value in before.state_dict().items():
        if name.endswith("._u") and len(value) > 1:
            assert torch.equal(after[name], value) == name.startswith("score_head"), name


@pytest.mark.parametrize("change", ["copy", "move", "load"])
def test_vectors_stay_the_layers_own(change: str) -> None:
    """After what takes tensors apart, the next pass goes on from the values that are there."""
    together, alone = pair()
    together(images(), 32, 1.0, "score")
    original = together
    left = {name: value.clone() for name, value in original.state_dict().items()}
    if change == "copy":
        together = copy.deepcopy(original)
    elif change == "move":
        together = together.float().double()
    together.load_state_dict(alone.state_dict())
    parts = images()
    assert_equal(
        torch.cat(together(parts, 32, 1.0, "score")),
        torch.cat([one_by_one(alone, part) for part in parts]),
        "scores",
    )
    assert_equal_state(together, alone)
    if change == "copy":
        for name, value in original.state_dict().items():
            assert torch.equal(value, left[name]), name


def test_without_training_nothing_moves() -> None:
    encoder = Encoder(CONFIG).eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with torch.inference_mode():
        first, second = (encoder(x, 32, 1.0)[0] for x in [images()[0]] * 2)
    assert torch.equal(first, second)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    encoder.train()(images()[0], 32, 1.0)[0].sum().backward()
