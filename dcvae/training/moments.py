"""Adam's moments by parameter, for any ZeRO stage and any number of ranks."""

from collections.abc import Iterator

import torch
from torch import Tensor

from dcvae.training import ranks
from dcvae.training.engines import Engine

MOMENTS = ("exp_avg", "exp_avg_sq")


def saved_moments(engine: Engine) -> Iterator[tuple[str, Tensor]]:
    """``<parameter>/<exp_avg | exp_avg_sq | step>`` of every parameter that has been stepped.

    Whole float32 tensors on the CPU, from all ranks; all ranks must iterate to the end.
    """
    for index, name, parameter in _parameters(engine):
        if not engine.steps[index]:
            continue
        for key in MOMENTS:
            yield f"{name}/{key}", _whole(engine, index, parameter, key).cpu()
        yield f"{name}/step", torch.tensor(float(engine.steps[index]))


def restore_moments(engine: Engine, saved: dict[str, Tensor]) -> None:
    """Give every parameter its saved moments; parameters that never made a step have none."""
    for index, name, parameter in _parameters(engine):
        if f"{name}/step" not in saved:
            continue
        engine.steps[index] = int(saved[f"{name}/step"])
        for key in MOMENTS:
            _restore(engine, index, parameter, key, saved[f"{name}/{key}"])


def _parameters(engine: Engine) -> Iterator[tuple[int, str, torch.nn.Parameter]]:
    """(index of its group, name, parameter) of the engine's network."""
    names = {parameter: name for name, parameter in engine.network.named_parameters()}
    for index, group in enumerate(engine.parameters):
        for parameter in group:
            yield index, names[parameter], parameter


def _whole(engine: Engine, index: int, parameter: torch.nn.Parameter, key: str) -> Tensor:
    if not engine.stage:
        state: Tensor = engine.adam.state[parameter][key]
        return state.detach().float().contiguous()
    whole = torch.zeros(parameter.numel(), device=parameter.device)
    mapping = getattr(parameter, "_hp_mapping", None)
    if mapping is not None:
        share, place = mapping.lp_fragment_address, mapping.hp_fragment_address
        flat = engine.adam.state[engine.partition(index)][key]
        whole.narrow(0, share.start, share.numel).copy_(flat.narrow(0, place.start, place.numel))
    return ranks.total(whole).view_as(parameter)


def _restore(
    engine: Engine, index: int, parameter: torch.nn.Parameter, key: str, value: Tensor
) -> None:
    owner = engine.partition(index) if engine.stage else parameter
    state = engine.adam.state[owner]
    if key not in state:
        state[key] = torch.zeros_like(owner.detach())
    state["step"] = torch.tensor(float(engine.steps[index]), device=owner.device)
    if not engine.stage:
        state[key].copy_(value)
        return
    mapping = getattr(parameter, "_hp_mapping", None)
    if mapping is not None:
        share, place = mapping.lp_fragment_address, mapping.hp_fragment_address
        state[key].narrow(0, place.start, place.numel).copy_(
            value.flatten().narrow(0, share.start, share.numel)
        )
