"""The four methods of Table 1 on Fashion-MNIST's 70,000 images, grown 4 → 32 on two CPU cores.

The images come with Debian's package ``dataset-fashion-mnist``; nothing else is downloaded.

python pipelines/fashion.py --local
"""

from pipelines.graphs.experiment import comparison
from pipelines.graphs.line import Size

fashion = comparison(
    name="fashion",
    title="Fashion-MNIST (Table 1)",
    description="The four methods of Table 1 on 70,000 real images, on a laptop, side by side.",
    headline="The four methods of Table 1, on Fashion-MNIST",
    varied="objective.method",
    values=("vae", "vae_gan", "vae_contrastive", "dcvae"),
    sweep=False,
    preset="fashion",
    source="idx:/usr/share/datasets/fashion-mnist",
    ranks=2,
    small=Size(cpu="2", memory="4Gi"),
    large=Size(cpu="2", memory="8Gi"),
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(fashion)
