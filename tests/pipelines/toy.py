"""A pipeline for tests of the local runner: one step that says something, waits or fails."""

from typing import NamedTuple

from kfp import dsl

from components.base import step


@step
def work(storage: str, folder: str, task: str) -> str:
    import os
    import time
    from pathlib import Path

    from dcvae.errors import UserError
    from dcvae.launch.local import LocalRanks
    from dcvae.launch.pipeline_step import running_step
    from dcvae.storage import open_storage

    with running_step():
        (Path(folder) / "pid-step").write_text(str(os.getpid()))
        if task == "refuse":
            raise UserError("the images are not images")
        if task == "ranks":
            LocalRanks(2, grace=5).run(["a_rank", folder, "wait"], lambda progress: None)
        if task == "wait":
            time.sleep(120)
        open_storage(storage).write("evaluation.json", b"{}")
        print("the step has written")
    return storage


@step
def two(a: str) -> NamedTuple("Two", [("first", str), ("second", str)]):
    from collections import namedtuple

    return namedtuple("Two", ["first", "second"])(a, a)


@dsl.pipeline(name="dcvae-toy", description="For tests.")
def toy(storage: str = "s3://toy-bucket/here", folder: str = "", task: str = "") -> str:
    return work(storage=storage, folder=folder, task=task).outputs["Output"]


@dsl.pipeline(name="dcvae-skipping", description="For tests: a condition the runner cannot see.")
def skipping(storage: str = "s3://toy-bucket/here", folder: str = "", task: str = "") -> None:
    named = two(a="yes")
    with dsl.If(named.outputs["first"] == "yes"):
        work(storage=storage, folder=folder, task=task)


if __name__ == "__main__":
    import sys

    from pipelines.command_line import main

    main({"toy": toy, "skipping": skipping}[sys.argv[1]], sys.argv[2:])
