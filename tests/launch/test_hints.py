"""What is behind a rank's end, told with it."""

import pytest

from dcvae.launch.starter import error_of
from dcvae.messages import Failure


@pytest.mark.parametrize(
    ("code", "last", "advice"),
    [
        (-9, "", "most likely for want of memory: give it more"),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "for want of memory"),
        (-7, "", "for want of shared memory: give the container a larger /dev/shm"),
        (
            1,
            "RuntimeError: unable to open shared memory object </torch_42> in /dev/shm",
            "for want of shared memory",
        ),
        (
            -6,
            "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7) ran for",
            "having waited in vain for another rank: see what the others said",
        ),
        (1, "RuntimeError: [pair.cc:537] Connection closed by peer [10.0.0.7]:4242", "in vain"),
        (1, "ZeroDivisionError: division by zero", "ended with exit code 1. Its last lines"),
    ],
)
def test_the_cause_is_named_with_what_to_do(code: int, last: str, advice: str) -> None:
    told = str(error_of(Failure(1, code, ("something before", last))))
    assert advice in told
    assert last in told
