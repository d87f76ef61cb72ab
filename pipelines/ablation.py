"""Table 1 of the paper: four methods, trained and evaluated side by side on one data set.

python pipelines/ablation.py --local --small
"""

from typing import List  # noqa: UP035 - KFP reads these spellings

from kfp import dsl

from pipelines.graphs.side_by_side import Compared, Model, side_by_side, small_digits

METHODS = ("vae", "vae_gan", "vae_contrastive", "dcvae")
SMALL = {"preset": "digits", **small_digits(24_000)}


@dsl.pipeline(
    name="dcvae-ablation",
    display_name="DC-VAE ablation (Table 1)",
    description="VAE, VAE/GAN, VAE-contrastive and DC-VAE on one data set, side by side.",
)
def ablation(
    storage: str = "s3://dcvae",
    source: str = "torchvision:CIFAR10",
    name: str = "cifar10",
    preset: str = "cifar10",
    resolution: int = 32,
    channels: int = 3,
    settings: List[str] = [],  # noqa: B006, UP006
    ranks: int = 8,
    samples: int = 0,
    extractor: str = "efficientnet-lite0",
    weights: str = "",
) -> Compared:
    """The four methods from one configuration, on one shard set, by one protocol.

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
        extractor: network whose features are compared; inception-v3 gives the paper's FID.
        weights: URI of that network's weights, where it does not come with them.
    """
    return side_by_side(
        [Model(method, preset, f"objective.method={method}") for method in METHODS],
        comparison="ablation",
        title="The four methods of Table 1",
        varied="objective.method",
        sweep=False,
        source=source,
        storage=storage,
        name=name,
        resolution=resolution,
        channels=channels,
        settings=settings,
        ranks=ranks,
        samples=samples,
        extractor=extractor,
        weights=weights,
    )


if __name__ == "__main__":
    from pipelines.command_line import main

    main(ablation, small=SMALL)
