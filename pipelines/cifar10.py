"""CIFAR-10 at 32 x 32: Table 2 of the paper.

python pipelines/cifar10.py --compile
"""

from pipelines.graphs.experiment import one_model

cifar10 = one_model(
    name="cifar10",
    title="CIFAR-10",
    description="Train a DC-VAE on CIFAR-10, measure it and register it.",
    preset="cifar10",
    source="torchvision:CIFAR10",
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(cifar10)
