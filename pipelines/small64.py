"""A few thousand pictures of your own at 64 x 64, in colour, grown from 4 x 4.

python pipelines/small64.py --local --set source=photos/ --set name=photos
"""

from pipelines.graphs.experiment import one_model

small64 = one_model(
    name="small64",
    title="small sets at 64",
    description="Train a DC-VAE on a few thousand pictures of your own and register it.",
    preset="small64",
    source="s3://dcvae/sources/small64",
    ranks=1,
)

if __name__ == "__main__":
    from pipelines.command_line import main

    main(small64)
