"""The demonstration: scikit-learn's handwritten digits, grown 4 → 8 → 16 in minutes, no download.

python pipelines/digits.py --local
"""

from typing import Dict, List  # noqa: UP035 - KFP reads these spellings

from kfp import dsl

from pipelines.graphs.line import Results, Size, line


@dsl.pipeline(
    name="dcvae-digits",
    display_name="DC-VAE digits",
    description="Train a small DC-VAE on scikit-learn's handwritten digits and register it.",
)
def digits(
    storage: str = "s3://dcvae",
    source: str = "sklearn:digits",
    name: str = "digits",
    preset: str = "digits",
    settings: List[str] = [],  # noqa: B006, UP006
    ranks: int = 2,
    samples: int = 0,
    maximum: Dict[str, float] = {"pixel_distance": 45.0},  # noqa: B006, UP006
    registry: str = "",
) -> Results:
    """Digits from images to a registered model.

    Args:
        storage: root for everything the run writes.
        source: the images.
        name: name of the data set and of the model in the registry.
        preset: configuration to start from.
        settings: changes to it, each as section.key=value.
        ranks: processes that share the training.
        samples: images in each compared set; 0: as many as are held out.
        maximum: largest values a champion may have.
        registry: where else it is shown: kubeflow or mlflow; empty: as DCVAE_REGISTRY says.
    """
    return line(
        source=source,
        storage=storage,
        name=name,
        preset=preset,
        resolution=16,
        channels=1,
        held_out=0.1,
        settings=settings,
        ranks=ranks,
        samples=samples,
        maximum=maximum,
        registry=registry,
        small=Size(cpu="1", memory="2Gi"),
        large=Size(cpu="2", memory="4Gi"),
    )


if __name__ == "__main__":
    from pipelines.command_line import main

    main(digits)
