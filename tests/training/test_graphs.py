"""Updates as graphs: the same weights, in the same places, and a word where it cannot be."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dcvae.config import Config
from dcvae.models.autogan import AutoganDualEncoder
from dcvae.training.graphs import WARM_UP, Graphs
from dcvae.training.randomness import Rows
from dcvae.training.step import MicroBatch, TrainingStep
from dcvae.updates import Networks
from tests.training import tasks
from tests.training.plain_engine import plain_engines
from tests.training.tape import record

BATCH = 16
SETTINGS = {
    "autogan": [*tasks.AUTOGAN, "objective.gan_loss=hinge", "objective.negatives=32"],
    "progan": [*tasks.PROGAN, "objective.gan_loss=wgan_gp", "objective.negatives=32"],
}
SETTINGS["progan fading in, patches moving"] = [
    *SETTINGS["progan"],
    "objective.local_patches_after=0",
]


def trained(config: Config, graphs: Graphs, steps: int) -> tuple[Networks, list[dict[str, float]]]:
    """Networks and losses after ``steps`` steps at the final resolution."""
    networks = Networks(config).double()
    resolution = config.training.phases[-1].resolution
    fades = config.objective.local_patches_after == 0
    step = TrainingStep(config, networks, plain_engines(networks, fused=True), graphs)
    losses = []
    for number in range(steps):
        networks.grow_to(resolution, (number + 1) / 20 if fades else 1.0)
        batches = []
        for part in range(config.training.discriminator_steps):
            images = (number * config.training.discriminator_steps + part) * BATCH
            x = tasks.global_images(BATCH, resolution, images, torch.float64)
            batches.append([MicroBatch(x, Rows(0, images, BATCH, 0, BATCH))])
        losses.append({k: float(v) for k, v in step(batches, number).items()})
    return networks, losses


@pytest.mark.parametrize("backbone", list(SETTINGS))
def test_replayed_updates_are_the_updates(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tape for a graph: what the host decided in the recording would be decided still."""
    monkeypatch.setattr(AutoganDualEncoder, "one_by_one", False)  # as on a GPU
    config = tasks.config([*SETTINGS[backbone], "training.discriminator_steps=2"])
    counted = Counted()
    plain, expected = trained(config, Graphs(None), WARM_UP + 5)
    graphed, found = trained(config, Graphs(counted), WARM_UP + 5)
    assert counted.recordings == 3
    # D is recorded in its 4th update, the generator in its 4th; the queues are full after 2 steps.
    assert counted.replays == 2 * (WARM_UP + 5) - WARM_UP + 5 + 3
    for step, (terms, were) in enumerate(zip(found, expected, strict=True)):
        assert terms == pytest.approx(were, rel=1e-9), step
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(graphed.state_dict()[name], value, atol=1e-10, rtol=0, msg=name)


class Counted:
    """The tape, counting."""

    def __init__(self) -> None:
        self.recordings = self.replays = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        replay = record(work)
        self.recordings += 1

        def counted() -> None:
            self.replays += 1
            replay()

        return counted


def doubled(inputs: list[Tensor]) -> dict[str, Tensor]:
    return {"twice": inputs[0] * 2}


def test_outputs_are_the_callers_and_inputs_are_left_alone() -> None:
    graphs = Graphs(record)
    given = [torch.full((2,), float(n)) for n in range(WARM_UP + 3)]
    kept = [graphs.run("double", (), [x], doubled)["twice"] for x in given]
    assert [float(x[0]) for x in kept] == [2.0 * n for n in range(WARM_UP + 3)]
    assert [float(x[0]) for x in given] == [float(n) for n in range(WARM_UP + 3)]


def test_another_key_is_recorded_anew_and_none_never() -> None:
    counted = Counted()
    graphs = Graphs(counted)
    for key, recordings in ((("a",), 1), (None, 1), (("b",), 2), (("a",), 3)):
        for n in range(WARM_UP + 2):
            assert float(graphs.run("w", key, [torch.tensor(float(n))], doubled)["twice"]) == 2 * n
        assert counted.recordings == recordings, key
    assert len(graphs.recordings) == 1


def test_a_recording_that_fails_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(work: Callable[[], None]) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    graphs = Graphs(refuse)
    for n in range(WARM_UP + 4):
        assert float(graphs.run("w", (), [torch.tensor(float(n))], doubled)["twice"]) == 2 * n
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    (told,) = (json.loads(line.partition("::dcvae::")[2]) for line in lines)
    assert (
        "no CUDA graph of them (operation not permitted when stream is capturing)" in told["text"]
    )
