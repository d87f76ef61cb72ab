"""Table 5 of the paper: a linear classifier on latents of 16, 32 and 64 dimensions.

python pipelines/mnist.py --local --small
"""

from pipelines.graphs.experiment import comparison
from pipelines.graphs.side_by_side import small_digits

SMALL = small_digits(24_000)

mnist = comparison(
    name="mnist",
    title="MNIST (Table 5)",
    description="DC-VAE with three latent sizes on MNIST, and how well a classifier reads them.",
    headline="Three latent sizes, as in Table 5",
    varied="model.latent_dim",
    values=(16, 32, 64),
    sweep=True,
    preset="mnist",
    source="torchvision:MNIST",
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(mnist, small=SMALL)
