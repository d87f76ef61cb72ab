"""A pipeline for tests: two methods side by side. Run as a module, it runs here."""

from kfp import dsl

from pipelines.graphs.line import Size
from pipelines.graphs.side_by_side import Compared, side_by_side


@dsl.pipeline(name="dcvae-pair", description="For tests.")
def pair(storage: str) -> Compared:
    return side_by_side(
        comparison="pair",
        title="Two methods",
        varied="objective.method",
        values=("dcvae", "vae"),
        sweep=False,
        source="images",
        storage=storage,
        name="images",
        preset="smoke",
        held_out=0.1,
        settings=["training.learning_rate=0.003"],
        ranks=1,
        protocol="held-out,samples=4",
        small=Size("1", "1Gi"),
        large=Size("1", "1Gi"),
    )


if __name__ == "__main__":
    from pipelines.command_line import main

    main(pair)
