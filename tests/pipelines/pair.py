"""A pipeline for tests: two methods side by side. Run as a module, it runs here."""

from kfp import dsl

from pipelines.line import Size
from pipelines.side_by_side import Compared, Model, side_by_side, small_digits


@dsl.pipeline(name="dcvae-pair", description="For tests.")
def pair(
    storage: str, source: str, name: str, resolution: int, channels: int, ranks: int
) -> Compared:
    return side_by_side(
        [Model(m, "smoke", f"objective.method={m}") for m in ("dcvae", "vae")],
        comparison="pair",
        title="Two methods",
        varied="objective.method",
        sweep=False,
        source=source,
        storage=storage,
        name=name,
        resolution=resolution,
        channels=channels,
        settings=["training.learning_rate=0.003"],
        ranks=ranks,
        samples=16,
        small=Size("1", "1Gi"),
        large=Size("1", "1Gi"),
    )


if __name__ == "__main__":
    from pipelines.command_line import main

    small = {key: value for key, value in small_digits(12).items() if key != "settings"}
    main(pair, small={**small, "resolution": 8, "ranks": 1})
