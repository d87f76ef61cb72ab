"""A pipeline for tests: images cut by several tasks at once. Run as a module, it runs here."""

import sys

from kfp import dsl

from pipelines.graphs.line import Size, cut_images


@dsl.pipeline(name="dcvae-parts", description="For tests.")
def parts(storage: str, source: str, num_tasks: int, shard_options: str = "") -> str:
    images = {
        "source": source,
        "storage": storage,
        "name": "parts",
        "preset": "smoke",
        "settings": ["model.channels=3"],
        "held_out": 0.1,
        "shard_options": shard_options,
    }
    cut = cut_images(num_tasks, images, Size("1", "1Gi"))
    return cut.outputs["Output"]


if __name__ == "__main__":
    from pipelines.local import _environment, _run

    values = {
        "storage": sys.argv[1],
        "source": sys.argv[2],
        "num_tasks": int(sys.argv[3]),
        "shard_options": sys.argv[4],
    }
    with _environment(sys.argv[1]):
        print("set:", _run(parts, values)["Output"])
