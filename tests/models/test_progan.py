"""Progressive GAN's networks: sizes, growth, and which parts are at work."""

import pytest
import torch
import torch.nn.functional as F

from dcvae.models import DCVAE, build_dual_encoder
from dcvae.presets import configure


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("preset", "decoder", "encoder", "discriminator"),
    [("celeba128", 22.93e6, 23.46e6, 22.94e6), ("celebahq512", 23.06e6, 23.60e6, 23.07e6)],
)
def test_parameter_counts(
    preset: str, decoder: float, encoder: float, discriminator: float
) -> None:
    config = configure(preset)
    with torch.device("meta"):
        model, dual_encoder = DCVAE(config), build_dual_encoder(config.model)
    assert parameters(model.decoder) == pytest.approx(decoder, rel=2e-3)
    assert parameters(model.encoder) == pytest.approx(encoder, rel=2e-3)
    assert parameters(dual_encoder) == pytest.approx(discriminator, rel=2e-3)


@pytest.mark.parametrize(("resolution", "fade"), [(4, 1), (8, 0.3), (8, 1), (16, 0.5), (16, 1)])
@pytest.mark.parametrize("head", ["score", "embed"])
def test_parts_at_work_are_those_with_gradients(resolution: int, fade: float, head: str) -> None:
    config = configure("digits")
    model, dual_encoder = DCVAE(config), build_dual_encoder(config.model)
    model.grow_to(resolution, fade)
    images = torch.rand(4, 1, resolution, resolution) * 2 - 1
    made = model(images, torch.randn(4, config.model.latent_dim))
    (found,) = dual_encoder([made.reconstruction], resolution, fade, head)
    outputs = [found] if head == "score" else list(found.values())
    torch.stack([o.sum() for o in outputs]).sum().backward()
    at_work = dual_encoder.at_work(resolution, fade, head)
    for network, expected in ((model, model.at_work()), (dual_encoder, at_work)):
        for part, modules in network.parts().items():
            gradients = [p.grad is not None for m in modules for p in m.parameters()]
            assert all(gradients) if part in expected else not any(gradients), part


def test_every_parameter_is_in_one_part() -> None:
    config = configure("digits")
    for network in (DCVAE(config), build_dual_encoder(config.model)):
        listed = [p for ms in network.parts().values() for m in ms for p in m.parameters()]
        assert {id(p) for p in listed} == {id(p) for p in network.parameters()}
        assert len(listed) == len({id(p) for p in listed})


def test_growth_starts_from_what_was_learned() -> None:
    """At fade 0 the new resolution shows the old images, enlarged, and scores them as before."""
    config = configure("digits")
    model, dual_encoder = DCVAE(config), build_dual_encoder(config.model)
    z = torch.randn(4, config.model.latent_dim)
    model.grow_to(8, 1.0)
    before = model.decode(z)
    (score,) = dual_encoder([before], 8, 1.0, "score")
    model.grow_to(16, 0.0)
    after = model.decode(z)
    torch.testing.assert_close(after, before.repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(dual_encoder([after], 16, 0.0, "score")[0], score)


def test_embeddings_do_not_depend_on_the_images_beside() -> None:
    dual_encoder = build_dual_encoder(configure("digits").model)
    images = torch.rand(6, 1, 16, 16) * 2 - 1
    place = torch.tensor([2 * dual_encoder.patch_side + 3])
    (together,) = dual_encoder([images], 16, 1.0, "embed", place)
    (alone,) = dual_encoder([images[:1]], 16, 1.0, "embed", place)
    assert set(together) == {"low", "high", "patch"}
    for name, rows in together.items():
        torch.testing.assert_close(alone[name], rows[:1])
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(6))
    there = dual_encoder.features(images, 16, 1.0).low[:, :, 2, 3]
    torch.testing.assert_close(together["patch"], F.normalize(there, dim=1))


def test_public_methods_check_their_input() -> None:
    model = DCVAE(configure("digits"))
    with pytest.raises(ValueError, match=r"\[N, 1, 16, 16\], not \[2, 3, 16, 16\]"):
        model.encode(torch.zeros(2, 3, 16, 16))
    with pytest.raises(ValueError, match=r"latents must have shape \[N, 16\]"):
        model.decode(torch.zeros(2, 7))
    assert model.sample(3, torch.Generator().manual_seed(0)).shape == (3, 1, 16, 16)
