"""Exports a model for users who have only PyTorch: two programs and a page.

::

    <place>/encoder.pt2    images [N, C, r, r] → (μ, log σ²), each [N, latent_dim]
    <place>/decoder.pt2    latents [N, latent_dim] → images [N, C, r, r] in [-1, 1]
    <place>/README.md      shapes, ranges and how to load them
    <place>/export.json    the same for programs, with checksums; written last

The programs are PyTorch's exported form (``torch.export``), for any number of images, with the
weights inside.
"""

import copy
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dcvae.models import DCVAE
from dcvae.storage import Storage, to_json
from dcvae.version import __version__

FORMAT_VERSION = 1
ENCODER, DECODER, ABOUT, README = "encoder.pt2", "decoder.pt2", "export.json", "README.md"


class _Encoder(nn.Module):
    def __init__(self, network: nn.Module, resolution: int, fade: float) -> None:
        super().__init__()
        self.network, self.resolution, self.fade = network, resolution, fade

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.network(images, self.resolution, self.fade)
        return mu, logvar


class _Decoder(_Encoder):
    def forward(self, z: Tensor) -> Tensor:  # type: ignore[override]
        images: Tensor = self.network(z, self.resolution, self.fade)
        return images.clamp(-1, 1)


def export(network: DCVAE, place: Storage) -> dict[str, Any]:
    """Write ``network`` as programs with its device and dtype; return what export.json holds."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    at, side, config = (network.resolution, float(network.fade)), network.resolution, network.config
    weight = next(network.parameters())
    images = weight.new_zeros(2, config.model.channels, side, side)
    latents = weight.new_zeros(2, config.model.latent_dim)
    programs = {
        ENCODER: _program(_Encoder(network.encoder, *at), images),
        DECODER: _program(_Decoder(network.decoder, *at), latents),
    }
    about: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "dcvae_version": __version__,
        "torch_version": torch.__version__,
        "preset": config.preset,
        "resolution": side,
        "channels": config.model.channels,
        "latent_dim": config.model.latent_dim,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "device": str(weight.device),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in programs.items()},
    }
    for name, data in programs.items():
        place.write(name, data)
    place.write(README, _readme(about).encode())
    place.write(ABOUT, to_json(about))
    return about


def _program(module: nn.Module, example: Tensor) -> bytes:
    dynamic = {0: torch.export.Dim("batch", min=1)}
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=(dynamic,))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.pt2"
        torch.export.save(program, file)
        return file.read_bytes()


def _readme(about: dict[str, object]) -> str:
    side, channels, size = (about[key] for key in ("resolution", "channels", "latent_dim"))
    return f"""# A DC-VAE for PyTorch alone

Made from the preset `{about["preset"]}` by dcvae {about["dcvae_version"]} with PyTorch
{about["torch_version"]}. Load these files only from places you trust, as any program.

```python
import torch

encoder = torch.export.load("{ENCODER}").module()
decoder = torch.export.load("{DECODER}").module()
images = torch.rand(4, {channels}, {side}, {side}, dtype=torch.{about["dtype"]}) * 2 - 1
mu, logvar = encoder(images)     # each [N, {size}]
again = decoder(mu)              # [N, {channels}, {side}, {side}] in [-1, 1]
new = decoder(torch.randn(4, {size}, dtype=torch.{about["dtype"]}))
```

Images are {about["dtype"]} in [-1, 1]: 8-bit levels divided by 127.5, minus 1. Latents are standard
normal under the prior. The programs compute on `{about["device"]}`.
"""
