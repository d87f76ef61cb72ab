"""A rank for tests: notes its number, says something, then does what it is told."""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from dcvae.messages import progress
from dcvae.processes import die_with_parent

FOLDER = Path(__file__).parent


def main(folder: Path, task: str) -> None:
    die_with_parent()
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

    def stop(number: int, frame: FrameType | None) -> None:
        with (folder / f"stopped-{rank}").open("a") as file:
            file.write("x")
        sys.exit(143)

    signal.signal(signal.SIGTERM, stop)
    print("an ordinary line that no user should see")
    if rank == 0:
        progress(7, 10, {"ranks": float(world)})
    (folder / f"pid-{rank}").write_text(str(os.getpid()))
    (folder / f"agent-{rank}").write_text(str(os.getppid()))
    if task == "wait":
        time.sleep(120)
    while not (folder / "agent-0").exists():  # the first rank is stopped when another fails
        time.sleep(0.05)
    if task == "fail" and rank == 1:
        print("about to fail", file=sys.stderr)
        sys.exit(3)
    if task == "refuse" and rank == 1:
        print("error: the data is not for this", file=sys.stderr)
        sys.exit(2)
    if task != "well":
        time.sleep(20)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
