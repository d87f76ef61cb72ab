"""Checkpoints: whole or absent, verified, and good for other ranks and ZeRO stages."""

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dcvae.errors import UserError
from dcvae.storage import open_storage
from dcvae.training import checkpoint
from dcvae.training.engines import build
from dcvae.training.moments import saved_moments
from dcvae.training.schedule import stage_at
from dcvae.training.step import TrainingStep
from dcvae.updates import Networks
from tests.training import tasks
from tests.training.pool import Pool


def train_and_save(settings: list[str], folder: str, first: int, last: int) -> dict[str, Tensor]:
    """Steps ``first`` to ``last``, going on from the latest checkpoint; then save one."""
    chosen = tasks.config(settings)
    networks = Networks(chosen)
    saved = checkpoint.latest_checkpoint(open_storage(folder))
    if saved:
        checkpoint.restore_networks(saved, networks)
        before = stage_at(chosen.training.phases, saved.state["images"] - 16)
        networks.autoencoder.resolution = before.phase.resolution
    engines = build(networks.trained, chosen.training)
    if saved:
        checkpoint.restore(saved, engines)
    step = TrainingStep(chosen, networks, engines)
    for i in range(first, last):
        step.enter(stage_at(chosen.training.phases, i * 16))
        step([tasks.micro_batches(chosen, networks.autoencoder.resolution, i * 16)], i * 16)
    checkpoint.save_checkpoint(open_storage(folder), networks, engines, {"images": last * 16})
    state = {name: value.clone() for name, value in networks.state_dict().items()}
    for name, engine in engines.items():
        state |= {f"{name}/{k}": v.clone() for k, v in saved_moments(engine)}
    return state


@pytest.mark.parametrize(
    ("before", "after"),
    [((1, 0), (1, 0)), ((2, 0), (2, 0)), ((2, 1), (2, 1)), ((2, 1), (1, 0)), ((1, 0), (2, 2))],
    ids=["1 rank", "2 ranks", "ZeRO 1", "2 ranks ZeRO 1 to 1 rank", "1 rank to 2 ranks ZeRO 2"],
)
def test_resumed_equals_uninterrupted(
    pool: Pool, tmp_path: Path, before: tuple[int, int], after: tuple[int, int]
) -> None:
    settings = [f"training.zero_stage={before[1]}"], [f"training.zero_stage={after[1]}"]
    whole = pool.run(before[0], train_and_save, settings[0], str(tmp_path / "whole"), 0, 5)[0]
    parts = str(tmp_path / "parts")
    pool.run(before[0], train_and_save, settings[0], parts, 0, 3)
    resumed = pool.run(after[0], train_and_save, settings[1], parts, 3, 5)[0]
    assert resumed.keys() == whole.keys()
    exact = before == after
    for name, value in whole.items():
        if exact:
            assert torch.equal(resumed[name], value), name
        else:
            bound = 3e-5 if "exp_avg" not in name else 5e-3 * float(value.abs().max()) + 1e-7
            torch.testing.assert_close(resumed[name], value, atol=bound, rtol=1e-4)


def test_parts_without_a_marker_do_not_exist(pool: Pool, tmp_path: Path) -> None:
    pool.run(1, train_and_save, [], str(tmp_path), 0, 1)
    (tmp_path / "000000000016" / checkpoint.MARKER).unlink()
    assert checkpoint.latest_checkpoint(open_storage(str(tmp_path))) is None


def test_a_damaged_checkpoint_is_passed_over(
    pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for last in (1, 2):
        pool.run(1, train_and_save, [], str(tmp_path), last - 1, last)
    flip_a_bit(tmp_path / "000000000032" / "networks.safetensors")
    with caplog.at_level(logging.WARNING):
        found = checkpoint.latest_checkpoint(open_storage(str(tmp_path)))
    assert found is not None
    assert found.state["images"] == 16
    assert "000000000032/networks.safetensors is damaged" in caplog.text
    flip_a_bit(tmp_path / "000000000016" / "optimizers.safetensors")
    with pytest.raises(UserError, match=r"every checkpoint in .* is damaged"):
        checkpoint.latest_checkpoint(open_storage(str(tmp_path)))


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def of_method(method: str) -> Networks:
    return Networks(tasks.config([f"objective.method={method}"]))


def as_saved(networks: Networks) -> checkpoint.Checkpoint:
    state = {name: tensor.clone() for name, tensor in networks.state_dict().items()}
    return checkpoint.Checkpoint("s3://runs/1/checkpoints/000000000016", {}, state, {})


@pytest.mark.parametrize("method", ["vae", "vae_gan"])
def test_networks_that_a_method_had_no_use_for_are_left_out(method: str) -> None:
    """As earlier releases saved them: D for all methods, and its momentum copy."""
    saved = as_saved(of_method("dcvae"))
    for name in [name for name in saved.networks if name.startswith("queues.")]:
        del saved.networks[name]
    for tensor in saved.networks.values():
        tensor.fill_(0.25)
    networks = of_method(method)
    checkpoint.restore_networks(saved, networks)
    assert all((tensor == 0.25).all() for tensor in networks.state_dict().values())


@pytest.mark.parametrize("change", ["missing", "unknown", "another shape"])
def test_other_networks_are_refused_and_none_is_changed(change: str) -> None:
    networks = of_method("dcvae")
    saved = as_saved(networks)
    name = "autoencoder.encoder.moments.weight"
    weight = saved.networks.pop(name)
    if change == "unknown":
        saved.networks.update({name: weight, "autoencoder.encoder.moments.size": weight})
        name = "autoencoder.encoder.moments.size"
    if change == "another shape":
        saved.networks[name] = weight[:1]
    before = as_saved(networks).networks
    with pytest.raises(UserError, match=f"000000000016 holds other .* at {name}.; go on with"):
        checkpoint.restore_networks(saved, networks)
    assert all(torch.equal(tensor, before[n]) for n, tensor in networks.state_dict().items())


def test_the_last_ones_and_those_to_keep_are_kept(pool: Pool, tmp_path: Path) -> None:
    for last in range(1, 5):
        pool.run(1, train_and_save, [], str(tmp_path), last - 1, last)
    folder = open_storage(str(tmp_path))
    checkpoint.prune(folder, keep_last=2, keep_always={16})
    assert checkpoint.committed(folder) == [16, 48, 64]
    assert not list((tmp_path / "000000000032").glob("*"))
