"""CelebA at 128 x 128, grown from 4 x 4: Table 4 of the paper.

python pipelines/celeba.py --compile
"""

from pipelines.graphs.experiment import one_model

celeba = one_model(
    name="celeba",
    title="CelebA 128",
    description="Train a DC-VAE on 128 x 128 faces, measure it and register it.",
    preset="celeba128",
    source="torchvision:CelebA",
    num_tasks=1,
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(celeba)
