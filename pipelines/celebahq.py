"""CelebA-HQ at 512 x 512, grown from 4 x 4: the paper's largest experiment.

python pipelines/celebahq.py --compile
"""

from typing import Dict, List  # noqa: UP035 - KFP reads these spellings

from kfp import dsl

from pipelines.graphs.line import Results, line


@dsl.pipeline(
    name="dcvae-celebahq",
    display_name="DC-VAE CelebA-HQ 512",
    description="Train a DC-VAE on 512 x 512 faces, measure it and register it.",
)
def celebahq(
    source: str = "s3://dcvae/sources/celebahq",
    storage: str = "s3://dcvae",
    name: str = "celebahq",
    held_out: float = 1000.0,
    settings: List[str] = [],  # noqa: B006, UP006
    ranks: int = 8,
    samples: int = 0,
    extractor: str = "efficientnet-lite0",
    weights: str = "",
    maximum: Dict[str, float] = {},  # noqa: B006, UP006
    registry: str = "",
    num_tasks: int = 8,
) -> Results:
    """Faces from a bucket to a registered model.

    Args:
        source: the images: an s3:// prefix, a folder or a zip file.
        storage: root for everything the run writes.
        name: name of the data set and of the model in the registry.
        held_out: images for testing, by number (the paper's 1,000) or, below 1, by fraction.
        settings: changes to the preset celebahq512, each as section.key=value.
        ranks: processes that share the training, one a GPU.
        samples: images in each compared set; 0: as many as are held out.
        extractor: network whose features are compared; inception-v3 gives the paper's FID.
        weights: URI of that network's weights, where it does not come with them.
        maximum: largest values a champion may have, by metric.
        registry: where else it is shown: kubeflow or mlflow; empty: as DCVAE_REGISTRY says.
        num_tasks: tasks that share the cutting into shards.
    """
    return line(
        source=source,
        storage=storage,
        name=name,
        preset="celebahq512",
        resolution=512,
        channels=3,
        held_out=held_out,
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

    main(celebahq)
