"""Table 1 of the paper: four methods, trained and evaluated side by side on one data set.

python pipelines/ablation.py --local --small
"""

from pipelines.graphs.experiment import comparison
from pipelines.graphs.side_by_side import small_digits

SMALL = small_digits(24_000)

ablation = comparison(
    name="ablation",
    title="ablation (Table 1)",
    description="VAE, VAE/GAN, VAE-contrastive and DC-VAE on one data set, side by side.",
    headline="The four methods of Table 1",
    varied="objective.method",
    values=("vae", "vae_gan", "vae_contrastive", "dcvae"),
    sweep=False,
    preset="cifar10",
    source="torchvision:CIFAR10",
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(ablation, small=SMALL)
