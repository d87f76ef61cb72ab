"""Table 5 of the paper: a linear classifier on latents of 16, 32 and 64 dimensions.

python pipelines/mnist.py --local --small
"""

from typing import List  # noqa: UP035 - KFP reads these spellings

from kfp import dsl

from pipelines.graphs.side_by_side import Compared, Model, side_by_side, small_digits

SIZES = (16, 32, 64)
SMALL = {"presets": "digits", **small_digits(24_000)}


@dsl.pipeline(
    name="dcvae-mnist",
    display_name="DC-VAE MNIST (Table 5)",
    description="DC-VAE with three latent sizes on MNIST, and how well its latents tell digits.",
)
def mnist(
    storage: str = "s3://dcvae",
    source: str = "torchvision:MNIST",
    name: str = "mnist",
    presets: str = "mnist",
    resolution: int = 32,
    channels: int = 1,
    settings: List[str] = [],  # noqa: B006, UP006
    ranks: int = 8,
    samples: int = 0,
) -> Compared:
    """Three latent sizes, on one shard set, by one protocol.

    Args:
        storage: root for everything the run writes.
        source: the images.
        name: name of the data set.
        presets: configurations to start from: what stands before _z16, _z32 and _z64.
        resolution: side of the presets' images in pixels.
        channels: 1 (grey) or 3 (RGB), as the presets have them.
        settings: changes to them, each as section.key=value.
        ranks: processes that share each training, one a GPU.
        samples: images in each compared set; 0: as many as are held out.
    """
    return side_by_side(
        [Model(f"with {size}", f"{presets}_z{size}") for size in SIZES],
        comparison="mnist",
        title="Three latent sizes, as in Table 5",
        varied="model.latent_dim",
        sweep=True,
        source=source,
        storage=storage,
        name=name,
        resolution=resolution,
        channels=channels,
        settings=settings,
        ranks=ranks,
        samples=samples,
    )


if __name__ == "__main__":
    from pipelines.command_line import main

    main(mnist, small=SMALL)
