"""LSUN's bedrooms at 128 x 128, grown from 4 x 4: Table 3 of the paper.

python pipelines/lsun_bedroom.py --compile
"""

from typing import Dict, List  # noqa: UP035 - KFP reads these spellings

from kfp import dsl

from pipelines.graphs.line import Results, line


@dsl.pipeline(
    name="dcvae-lsun-bedroom",
    display_name="DC-VAE LSUN bedroom 128",
    description="Train a DC-VAE on 128 x 128 bedrooms, measure it and register it.",
)
def lsun_bedroom(
    source: str = "torchvision:LSUN/bedroom",
    storage: str = "s3://dcvae",
    name: str = "lsun_bedroom",
    settings: List[str] = [],  # noqa: B006, UP006
    ranks: int = 8,
    samples: int = 0,
    extractor: str = "efficientnet-lite0",
    weights: str = "",
    maximum: Dict[str, float] = {},  # noqa: B006, UP006
    registry: str = "",
    num_tasks: int = 1,
) -> Results:
    """Bedrooms, from the published databases to a registered model.

    Args:
        source: the images: the published databases in $DCVAE_SOURCES, where LSUN is not
            downloaded by itself; an s3:// prefix, a folder or a zip file.
        storage: root for everything the run writes.
        name: name of the data set and of the model in the registry.
        settings: changes to the preset lsun_bedroom128, each as section.key=value.
        ranks: processes that share the training, one a GPU.
        samples: images in each compared set; 0: as many as are held out.
        extractor: network whose features are compared; inception-v3 gives the paper's FID.
        weights: URI of that network's weights, where it does not come with them.
        maximum: largest values a champion may have, by metric.
        registry: where else it is shown: kubeflow or mlflow; empty: as DCVAE_REGISTRY says.
        num_tasks: tasks that share the cutting; more than 1 for images in a bucket.
    """
    return line(
        source=source,
        storage=storage,
        name=name,
        preset="lsun_bedroom128",
        resolution=128,
        channels=3,
        held_out=0.1,  # where the source has no test split of its own
        settings=settings,
        ranks=ranks,
        samples=samples,
        extractor=extractor,
        weights=weights,
        maximum=maximum,
        registry=registry,
        num_tasks=num_tasks,
    )


if __name__ == "__main__":
    from pipelines.command_line import main

    main(lsun_bedroom)
