"""Ranks watch each other, so that losing one ends all of them soon, with a clear message.

A collective whose peer is gone may hang until the process group's timeout, which must be long: rank
0 may be writing a checkpoint through a storage outage. So every rank posts signs of life to the
group's store, from a thread that nothing holds up, and checks those of the next rank.
"""

import os
import sys
import threading
import time
from collections.abc import Callable

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

LIMIT = 30.0
"""Seconds without a sign of life after which a rank is lost."""
LOST_EXIT_CODE = 75
"""EX_TEMPFAIL, as after a stop: the same command resumes from the last checkpoint."""
LEFT = "left"
ADVICE = "all ranks end; the same command goes on from the last checkpoint"


def end(sentence: str) -> None:
    """Exit at once: the main thread may hang where nothing can interrupt it."""
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    os._exit(LOST_EXIT_CODE)


class Watch:
    """Posts this rank's signs of life and checks those of the next rank."""

    def __init__(
        self,
        store: Store,
        rank: int,
        world_size: int,
        limit: float = LIMIT,
        lost: Callable[[str], None] = end,
    ) -> None:
        self.store, self.rank, self.limit, self.lost = store, rank, limit, lost
        self.next = (rank + 1) % world_size
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.thread.start()

    def leave(self) -> None:
        """This rank is ending as planned, and must not count as lost."""
        self.stopped.set()
        self.thread.join(self.limit)
        try:
            self.store.set(_key(self.rank), LEFT)
        except RuntimeError:
            return  # the rank that hosts the store has left already

    def _run(self) -> None:
        sign, seen, since = 0, b"", time.monotonic()
        while not self.stopped.wait(self.limit / 10):
            sign += 1
            try:
                self.store.set(_key(self.rank), str(sign))
                if self.store.check(["lost"]):
                    return self.lost(self.store.get("lost").decode())
                known = self.store.check([_key(self.next)])
                found = self.store.get(_key(self.next)) if known else b""
            except RuntimeError:
                if seen != LEFT.encode() and not self.stopped.is_set():
                    self.lost(f"the rank that holds the others together is lost; {ADVICE}")
                return None
            if found != seen or found == LEFT.encode():
                seen, since = found, time.monotonic()
            elif time.monotonic() - since > self.limit:
                sentence = f"rank {self.next} has shown no sign of life for {self.limit:.0f} s"
                self.store.set("lost", f"{sentence}; {ADVICE}")
                return self.lost(f"{sentence}; {ADVICE}")
        return None


def own_connection() -> Store:
    """A separate connection to the group's store, so that waiting on it holds up nothing else."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, wait_for_workers=False)
    return PrefixStore("dcvae/watch", store)


def peer_is_lost(error: RuntimeError) -> bool:
    """Whether a collective failed because its peer is gone."""
    said = str(error)
    gone = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out")
    return isinstance(error, dist.DistError) or any(words in said for words in gone)


def _key(rank: int) -> str:
    return f"alive/{rank}"
