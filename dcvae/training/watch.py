"""Ranks watch each other, so that losing one ends all of them soon, with a clear message.

A collective whose peer is gone may hang until the process group's timeout, which must be long: rank
0 may be writing a checkpoint through a storage outage. So every rank posts signs of life to the
group's store, from a thread that nothing holds up, and checks those of the next rank.

Silence is counted in checks, not in seconds: on a machine that is overloaded, suspended or paused,
the rank that checks is held up as much as the one it checks, and neither counts as lost.
"""

import os
import sys
import threading
from collections.abc import Callable

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

LIMIT = 45.0
"""Seconds without a sign of life after which a rank is lost, if its machine is not held up."""
CHECKS = 10
"""Checks in that time, all without a new sign."""
LOST_EXIT_CODE = 75
"""EX_TEMPFAIL, as after a stop: the same command resumes from the last checkpoint."""
LEFT = "left"
ADVICE = "all ranks end; the same command goes on from the last checkpoint"


def end(sentence: str) -> None:
    """Exit at once: the main thread may hang where nothing can interrupt it."""
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    os._exit(LOST_EXIT_CODE)


class Watch:
    """Posts this rank's signs of life, and checks those of the next rank and of the store."""

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
        self.answered = 0
        """Checks that the store has answered."""
        self.stopped = threading.Event()
        self._post()
        self.threads = [
            threading.Thread(target=work, name="watch", daemon=True)
            for work in (self._check_next, self._check_store)
        ]
        for thread in self.threads:
            thread.start()

    def leave(self) -> None:
        """This rank is ending as planned, and must not count as lost."""
        self.stopped.set()
        for thread in self.threads:
            thread.join(self.limit)
        try:
            self.store.set(_key(self.rank), LEFT)
        except RuntimeError:
            return  # the rank that hosts the store has left already

    def _post(self) -> None:
        self.store.set(_key(self.rank), str(self.answered))

    def _check_next(self) -> None:
        silent, seen = 0, b""
        while not self.stopped.wait(self.limit / CHECKS):
            try:
                self._post()
                if self.store.check(["lost"]):
                    return self._end(self.store.get("lost").decode())
                known = self.store.check([_key(self.next)])
                found = self.store.get(_key(self.next)) if known else b""
                silent = silent + 1 if found == seen and found not in (b"", LEFT.encode()) else 0
                seen = found
                if silent >= CHECKS:
                    sentence = f"rank {self.next} has shown no sign of life for {self.limit:.0f} s"
                    self.store.set("lost", f"{sentence}; {ADVICE}")
                    return self._end(f"{sentence}; {ADVICE}")
            except RuntimeError:
                if seen == LEFT.encode():
                    return self.stopped.set()
                return self._end(f"the rank that holds the others together is lost; {ADVICE}")
            self.answered += 1
        return None

    def _check_store(self) -> None:
        """A check of a store that is frozen, or beyond a broken network, never times out."""
        silent, seen = 0, -1
        while not self.stopped.wait(self.limit / CHECKS):
            silent, seen = silent + 1 if self.answered == seen else 0, self.answered
            if silent >= CHECKS:
                sentence = "the rank that holds the others together has not answered"
                return self._end(f"{sentence} for {self.limit:.0f} s; {ADVICE}")
        return None

    def _end(self, sentence: str) -> None:
        if not self.stopped.is_set():
            self.stopped.set()
            self.lost(sentence)


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
