"""Figure 11 of the paper: how the reconstruction error changes with the number of negatives.

python pipelines/negatives.py --local --small
"""

from pipelines.graphs.experiment import comparison
from pipelines.graphs.side_by_side import small_digits

SMALL = small_digits(15_000)

negatives = comparison(
    name="negatives",
    title="negatives (Figure 11)",
    description="DC-VAE with 32 to 8,192 negatives on one data set, each metric plotted over them.",
    headline="The number of negatives, as in Figure 11",
    varied="objective.negatives",
    values=(32, 128, 512, 2048, 8192),  # the last is that of the presets; the paper prints 8,096
    sweep=True,
    preset="cifar10",
    source="torchvision:CIFAR10",
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(negatives, small=SMALL)
