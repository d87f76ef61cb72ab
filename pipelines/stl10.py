"""STL-10, resized to 32 x 32 as in the paper.

python pipelines/stl10.py --compile
"""

from typing import Dict, List  # noqa: UP035 - KFP reads these spellings

from kfp import dsl

from pipelines.graphs.line import Results, line


@dsl.pipeline(
    name="dcvae-stl10",
    display_name="DC-VAE STL-10",
    description="Train a DC-VAE on STL-10's 105,000 images, measure it and register it.",
)
def stl10(
    source: str = "torchvision:STL10",
    storage: str = "s3://dcvae",
    name: str = "stl10",
    settings: List[str] = [],  # noqa: B006, UP006
    ranks: int = 8,
    samples: int = 0,
    extractor: str = "efficientnet-lite0",
    weights: str = "",
    maximum: Dict[str, float] = {},  # noqa: B006, UP006
    registry: str = "",
) -> Results:
    """Labelled and unlabelled pictures, from the published files to a registered model.

    Args:
        source: the images: the published data set, an s3:// prefix, a folder or a zip file.
        storage: root for everything the run writes.
        name: name of the data set and of the model in the registry.
        settings: changes to the preset stl10, each as section.key=value.
        ranks: processes that share the training, one a GPU.
        samples: images in each compared set; 0: as many as are held out.
        extractor: network whose features are compared; inception-v3 gives the paper's FID.
        weights: URI of that network's weights, where it does not come with them.
        maximum: largest values a champion may have, by metric.
        registry: where else it is shown: kubeflow or mlflow; empty: as DCVAE_REGISTRY says.
    """
    return line(
        source=source,
        storage=storage,
        name=name,
        preset="stl10",
        resolution=32,
        channels=3,
        held_out=0.1,  # where the source has no test split of its own
        settings=settings,
        ranks=ranks,
        samples=samples,
        extractor=extractor,
        weights=weights,
        maximum=maximum,
        registry=registry,
    )


if __name__ == "__main__":
    from pipelines.command_line import main

    main(stl10)
