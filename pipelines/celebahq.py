"""CelebA-HQ at 512 x 512, grown from 4 x 4: the paper's largest experiment.

python pipelines/celebahq.py --compile
"""

from pipelines.graphs.experiment import one_model

celebahq = one_model(
    name="celebahq",
    title="CelebA-HQ 512",
    description="Train a DC-VAE on 512 x 512 faces, measure it and register it.",
    preset="celebahq512",
    source="s3://dcvae/sources/celebahq",
    held_out=1000,  # as in the paper
    num_tasks=8,
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(celebahq)
