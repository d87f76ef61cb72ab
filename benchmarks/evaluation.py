"""Features of generated images: streamed as tensors, or through PNG files as in the authors' code.

    python -m benchmarks.evaluation [--images 2000] [--resolution 32]

Both ways start from decoded float images and end with the same features of EfficientNet-Lite0.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch_fidelity.datasets import ImagesPathDataset, TransformPILtoRGBTensor
from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

from dcvae.evaluation.extractors import EFFICIENTNET, load_extractor
from dcvae.evaluation.feature_set import gathered
from dcvae.pictures import to_uint8

BATCH = 64


def batches(count: int, resolution: int) -> Iterator[torch.Tensor]:
    """Smooth random images, float in [-1, 1], which compress like photographs."""
    generator = torch.Generator().manual_seed(0)
    for start in range(0, count, BATCH):
        n = min(BATCH, count - start)
        coarse = torch.rand(n, 3, 8, 8, generator=generator) * 2 - 1
        yield torch.nn.functional.interpolate(coarse, (resolution, resolution), mode="bicubic")


def streamed(count: int, resolution: int) -> torch.Tensor:
    """This package's way."""
    tool = load_extractor(EFFICIENTNET, resolution)
    features = (tool(to_uint8(x))[tool.feature_layer] for x in batches(count, resolution))
    return gathered(features, count).kept


def by_files(count: int, resolution: int, folder: Path) -> torch.Tensor:
    """One PNG per image, written, then read again by torch-fidelity."""
    number = 0
    for x in batches(count, resolution):
        for image in to_uint8(x):
            picture = Image.fromarray(image.permute(1, 2, 0).numpy())
            picture.save(folder / f"{number:06d}.png")
            number += 1
    files = sorted(map(str, folder.glob("*.png")))
    dataset = ImagesPathDataset(files, TransformPILtoRGBTensor())
    tool = create_feature_extractor(EFFICIENTNET, ["1280"], cuda=False, verbose=False)
    features = get_featuresdict_from_dataset(dataset, tool, BATCH, False, True, False)
    values: torch.Tensor = features["1280"]
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--resolution", type=int, default=32)
    options = parser.parse_args()
    began = time.perf_counter()
    a = streamed(options.images, options.resolution)
    middle = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        b = by_files(options.images, options.resolution, Path(folder))
    ended = time.perf_counter()
    assert torch.allclose(a, b, atol=1e-3), "the two ways must give the same features"
    for name, seconds in (("streamed", middle - began), ("PNG files", ended - middle)):
        print(f"{name:<10} {seconds:6.1f} s  {options.images / seconds:7.0f} images/s")
    print(f"PNG files take {(ended - middle) / (middle - began):.2f} times as long")


if __name__ == "__main__":
    main()
