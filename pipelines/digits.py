"""The demonstration: scikit-learn's handwritten digits, grown 4 → 8 → 16 in minutes, no download.

python pipelines/digits.py --local
"""

from pipelines.graphs.experiment import one_model
from pipelines.graphs.line import Size

digits = one_model(
    name="digits",
    title="digits",
    description="Train a small DC-VAE on scikit-learn's handwritten digits and register it.",
    preset="digits",
    source="sklearn:digits",
    ranks=2,
    maximum={"pixel_distance": 45.0},
    small=Size(cpu="1", memory="2Gi"),
    large=Size(cpu="2", memory="4Gi"),
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(digits)
