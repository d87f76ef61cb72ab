"""A term that is not finite stops every rank with one sentence."""

import pytest
import torch

from dcvae.config import Phase
from dcvae.errors import UserError
from dcvae.training import ranks
from dcvae.training.schedule import Stage
from dcvae.training.telemetry import NonFiniteError, Telemetry
from tests.training.pool import Pool

STAGE = Stage(0, Phase(resolution=4, images=100, batch_size=8), 1.0, 100)


def flush_with(bad_rank: int, bad_step: int, value: float) -> str:
    telemetry = Telemetry(100, None)
    for step in range(4):
        terms = {"kl": torch.tensor(1.0), "gan_generator": torch.tensor(float(step))}
        if ranks.rank() == bad_rank and step >= bad_step:
            terms["gan_generator"] = torch.tensor(value)
        telemetry.step(8 * (step + 1), terms, 0.1, 0.0)
    try:
        telemetry.request(STAGE)
        record = telemetry.collect()
    except NonFiniteError as error:
        return str(error)
    assert record is not None
    return f"{record['kl']} {record['gan_generator']} {record['images']}"


def test_every_rank_names_the_first_bad_step(pool: Pool) -> None:
    messages = pool.run(2, flush_with, 1, 2, float("nan"))
    assert messages[0] == messages[1]
    assert messages[0].startswith(
        "the loss term gan_generator became NaN on rank 1 after 24 images"
    )


def test_infinity_is_named_too(pool: Pool) -> None:
    (message,) = pool.run(1, flush_with, 0, 0, float("-inf"))
    assert "became minus infinite on rank 0 after 8 images" in message


def test_means_over_steps_and_ranks(pool: Pool) -> None:
    assert pool.run(2, flush_with, -1, 0, 0.0) == ["1.0 1.5 32"] * 2


def test_a_port_beyond_the_last_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match=r"port 65536 cannot be opened \(ports end at 65535\)"):
        Telemetry(100, 65535)
