"""AutoGAN's networks: sizes as released, spectral norms of one, batch statistics."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcvae.models import DCVAE, build_dual_encoder
from dcvae.models.autogan import Block, Cell
from dcvae.models.normalization import normalize_spectrum
from dcvae.models.spectral import NormalizedLayers
from dcvae.objective.kl import kl_divergence
from dcvae.presets import configure

UNUSED_HEADS = 3 * (129 + 64 * 16)
"""The released dual encoder has heads on blocks 2, 3 and 4 that no loss uses; ours has not."""


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_are_those_of_the_released_code() -> None:
    config = configure("cifar10")
    model, dual_encoder = DCVAE(config), build_dual_encoder(config.model)
    assert parameters(model.encoder) == 1_086_464
    assert parameters(model.decoder) == 4_405_251
    assert parameters(dual_encoder) + UNUSED_HEADS == 1_063_445


def test_a_cell_is_upsampling_convolving_and_adding_skips() -> None:
    """Against the cell as Gong et al. draw it, every convolution at the large size."""
    for mode, skips in (("nearest", 0), ("bilinear", 1), ("nearest", 2)):
        cell = Cell(6, mode, skips, shortcut=True).double()
        x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
        skipped = [torch.randn(2, 6, s, s, dtype=torch.float64) for s in (4, 8)[:skips]]

        def enlarge(t: Tensor, mode: str = mode) -> Tensor:
            options = {} if mode == "nearest" else {"align_corners": False}
            return F.interpolate(t, size=(16, 16), mode=mode, **options)

        h = cell.c1(enlarge(F.relu(x)))
        for convolution, skip in zip(cell.skip_in, skipped, strict=True):
            h = h + convolution(enlarge(skip))
        assert cell.shortcut is not None
        out = cell.c2(F.relu(h)) + cell.shortcut(enlarge(x))
        found_skip, found = cell(x, skipped)
        torch.testing.assert_close(found_skip, h, atol=1e-12, rtol=0)
        torch.testing.assert_close(found, out, atol=1e-12, rtol=0)


def test_a_block_is_convolving_and_averaging() -> None:
    block = Block(6, 6, down=True).double()
    x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
    assert block.shortcut is not None
    whole = block.c2(F.relu(block.c1(F.relu(x)))) + block.shortcut(x)
    as_they_are = {layer: layer.weight for layer in (block.c1, block.c2, block.shortcut)}
    found = block(x, NormalizedLayers(as_they_are, None))
    torch.testing.assert_close(found, F.avg_pool2d(whole, 2), atol=1e-12, rtol=0)


def test_weights_are_divided_by_their_largest_singular_value() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(32, 16))
    normalize_spectrum(layer)
    largest = torch.linalg.matrix_norm(layer[0].weight.detach(), ord=2)
    torch.testing.assert_close(largest, torch.tensor(1.0), atol=0.05, rtol=0)


def test_images_latents_and_embeddings_have_their_shapes() -> None:
    config = configure("mnist", ["model.latent_dim=16"])
    model, dual_encoder = DCVAE(config).eval(), build_dual_encoder(config.model)
    images = model.sample(2, torch.Generator().manual_seed(0))
    assert images.shape == (2, 1, 32, 32)
    assert model.encode(images)[0].shape == (2, 16)
    (embeddings,) = dual_encoder([images], 32, 1.0, "embed", torch.tensor([18]))
    assert {k: v.shape[1] for k, v in embeddings.items()} == {"low": 16, "high": 16, "patch": 128}


def test_the_first_posteriors_are_near_the_prior() -> None:
    """Where biases are zero; started as in the released code, it is thousands of nats."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = DCVAE(configure("mnist", ["model.latent_dim=16"])).encoder
        images = torch.rand(8, 1, 32, 32) * 2 - 1
        assert float(kl_divergence(*encoder(images, 32, 1.0)).detach()) < 100
