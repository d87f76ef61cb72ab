"""LSUN's bedrooms at 128 x 128, grown from 4 x 4: Table 3 of the paper.

python pipelines/lsun_bedroom.py --compile
"""

from pipelines.graphs.experiment import one_model

lsun_bedroom = one_model(
    name="lsun_bedroom",
    title="LSUN bedroom 128",
    description="Train a DC-VAE on 128 x 128 bedrooms, measure it and register it.",
    preset="lsun_bedroom128",
    source="torchvision:LSUN/bedroom",  # not downloaded: put it into $DCVAE_SOURCES
    num_tasks=1,
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(lsun_bedroom)
