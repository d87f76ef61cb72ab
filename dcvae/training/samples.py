"""Pictures of the model while it trains: samples and reconstructions."""

import torch
from torch import Tensor

from dcvae.models import DCVAE
from dcvae.pictures import pairs, png, sheet

SAMPLES, COLUMNS, CELL = 64, 8, 64
INPUTS = SAMPLES // 2


@torch.no_grad()
def sheets(model: DCVAE, inputs: Tensor, seed: int) -> tuple[bytes, bytes]:
    """PNG sheets: samples from fixed latents, and ``inputs`` beside their reconstructions.

    ``inputs`` is float [INPUTS, C, r, r] in [-1, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    samples = sheet(model.sample(SAMPLES, generator), COLUMNS, CELL)
    both = sheet(pairs(inputs, model.reconstruct(inputs)), COLUMNS, CELL)
    return png(samples), png(both)
