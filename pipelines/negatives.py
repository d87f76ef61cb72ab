"""Figure 11 of the paper: how the reconstruction error changes with the number of negatives.

python pipelines/negatives.py --local --small
"""

from typing import List  # noqa: UP035 - KFP reads these spellings

from kfp import dsl

from pipelines.graphs.side_by_side import Compared, Model, side_by_side, small_digits

NEGATIVES = (32, 128, 512, 2048, 8192)
"""The largest is what the presets of the paper use; it prints 8,096."""
SMALL = {"preset": "digits", **small_digits(15_000)}


@dsl.pipeline(
    name="dcvae-negatives",
    display_name="DC-VAE negatives (Figure 11)",
    description="DC-VAE with ever more negatives on one data set, each measure drawn over them.",
)
def negatives(
    storage: str = "s3://dcvae",
    source: str = "torchvision:CIFAR10",
    name: str = "cifar10",
    preset: str = "cifar10",
    resolution: int = 32,
    channels: int = 3,
    settings: List[str] = [],  # noqa: B006, UP006
    ranks: int = 8,
    samples: int = 0,
) -> Compared:
    """DC-VAE with few to many negatives, on one shard set, by one protocol.

    Args:
        storage: root for everything the run writes.
        source: the images.
        name: name of the data set.
        preset: configuration to start from.
        resolution: side of the preset's images in pixels.
        channels: 1 (grey) or 3 (RGB), as the preset has them.
        settings: changes to it, each as section.key=value.
        ranks: processes that share each training, one a GPU.
        samples: images in each compared set; 0: as many as are held out.
    """
    return side_by_side(
        [Model(f"with {n}", preset, f"objective.negatives={n}") for n in NEGATIVES],
        comparison="negatives",
        title="The number of negatives, as in Figure 11",
        varied="objective.negatives",
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

    main(negatives, small=SMALL)
