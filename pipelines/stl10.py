"""STL-10, resized to 32 x 32 as in the paper.

python pipelines/stl10.py --compile
"""

from pipelines.graphs.experiment import one_model

stl10 = one_model(
    name="stl10",
    title="STL-10",
    description="Train a DC-VAE on STL-10's 105,000 images, measure it and register it.",
    preset="stl10",
    source="torchvision:STL10",
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(stl10)
