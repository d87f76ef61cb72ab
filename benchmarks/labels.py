"""What the probe's error can be compared with: the pixels themselves, and an encoder with labels.

    python -m benchmarks.labels SHARDS [--set model.latent_dim=16] [--images 60000] [--rate 0.01]

The same probe as in ``dcvae evaluate`` reads all pixels, as many principal components as the
latent has dimensions, and the latents of the preset's encoder, which is trained here *with* the
labels: a linear layer on its means, cross-entropy, Adam. Without labels, no training of as many
images can be expected to reach the last.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcvae.config import Config
from dcvae.evaluation.principal import principal_components
from dcvae.evaluation.probe import probe
from dcvae.models.backbones import build_encoder
from dcvae.pictures import to_float
from dcvae.presets import configure
from dcvae.shards.manifest import load_manifest
from dcvae.storage import open_storage
from dcvae.streaming.stream import read_split

Labelled = tuple[Tensor, Tensor]
"""uint8 images ``(N, C, r, r)`` and int64 labels ``(N,)``."""


def labelled(uri: str, split: str, resolution: int) -> Labelled:
    """A whole split."""
    storage = open_storage(uri)
    batches = list(read_split(storage, load_manifest(storage), split, resolution, 1000))
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return torch.cat([batch.images for batch in batches]), torch.cat(labels)


def with_labels(config: Config, train: Labelled, images: int, rate: float, batch: int) -> nn.Module:
    """The preset's encoder, trained with labels."""
    torch.manual_seed(config.training.seed)
    encoder = build_encoder(config.model)
    top = nn.Linear(config.model.latent_dim, int(train[1].max()) + 1)
    adam = torch.optim.Adam([*encoder.parameters(), *top.parameters()], lr=rate)
    for _ in range(images // batch):
        chosen = torch.randint(len(train[0]), (batch,))
        mu, _ = encoder(to_float(train[0][chosen]), config.model.resolution, 1.0)
        loss = F.cross_entropy(top(mu), train[1][chosen])
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return encoder


@torch.no_grad()
def latents(encoder: nn.Module, images: Tensor) -> Tensor:
    """Means of q(z|x), ``(N, d)``."""
    side = images.shape[-1]
    return torch.cat([encoder(to_float(part), side, 1.0)[0] for part in images.split(1000)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shards")
    parser.add_argument("--preset", default="fashion")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    config = configure(args.preset, args.set)
    size, dimensions = config.model.resolution, config.model.latent_dim
    train, test = (labelled(args.shards, split, size) for split in ("train", "test"))

    def told(what: str, read: Tensor, held: Tensor) -> None:
        classes = int(train[1].max()) + 1
        error = probe(read, train[1], held, test[1], classes).mean
        print(f"{what:<42} {100 * error:.1f} %", flush=True)

    pixels = [images.flatten(1) for images, _ in (train, test)]
    told(f"{pixels[0].shape[1]} pixels", *pixels)
    told(f"{dimensions} principal components", *principal_components(*pixels, dimensions))
    encoder = with_labels(config, train, args.images, args.rate, args.batch)
    read = [latents(encoder, images) for images, _ in (train, test)]
    told(f"{dimensions} latents, encoder trained with labels", *read)


if __name__ == "__main__":
    main()
