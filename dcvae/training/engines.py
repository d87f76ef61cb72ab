"""The two DeepSpeed engines: one for encoder and decoder, one for the dual encoder.

What DeepSpeed would do silently, and what is done about it here:

- it clips gradients at 1.0 unless told otherwise: the configuration always states the clipping;
- it turns missing gradients into zeros, which age Adam's moments of parts that did not take part:
  :class:`PartAdam` steps the active parts alone;
- its accumulation follows a counter that two engines and three updates would share: the boundary is
  where we call ``step`` (``managed_gradient_accumulation`` off);
- it averages gradients when the backward pass is over: without ZeRO, :class:`Reduction` does it
  meanwhile, in one message for each network, and ``zero_stage`` 1 and 2 leave it to DeepSpeed;
- its timer of throughput waits for the device at every step: off;
- on the CPU it compiles C++ at the first run: not needed, so not built.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import deepspeed
import torch
from torch import Tensor, nn

from dcvae.config import TrainingConfig
from dcvae.models import DCVAE
from dcvae.training.reduction import Reduction


class PartAdam(torch.optim.Adam):
    """Adam with one parameter group per part of a network; only ``active`` parts are stepped."""

    def __init__(self, parts: dict[str, list[nn.Module]], **options: Any) -> None:
        groups = [
            {"params": [p for m in modules for p in m.parameters()], "part": name}
            for name, modules in parts.items()
        ]
        super().__init__(groups, **options)
        self.active: set[str] = set(parts)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Step the active parts; the moments of the others do not age."""
        groups = self.param_groups
        self.param_groups = [g for g in groups if g["part"] in self.active]
        try:
            return super().step(closure) if self.param_groups else None
        finally:
            self.param_groups = groups


class Engine:
    """A network under DeepSpeed: forward, and a step of the parts that took part."""

    def __init__(self, network: nn.Module, training: TrainingConfig) -> None:
        self.network = network
        self.stage = training.zero_stage
        parts: dict[str, list[nn.Module]] = network.parts()  # type: ignore[operator]
        self.adam = PartAdam(
            parts,
            lr=training.learning_rate,
            betas=training.adam_betas,
            eps=training.adam_eps,
            fused=True,
            capturable=next(network.parameters()).device.type == "cuda",
        )
        self.parts = list(parts)
        self.parameters = [list(group["params"]) for group in self.adam.param_groups]
        """The parameters of each part."""
        self.steps = [0] * len(self.parts)
        """Steps that each part has made."""
        self.deepspeed, *_ = deepspeed.initialize(
            model=network, optimizer=self.adam, config=_deepspeed_config(training)
        )
        self.reduction = None if self.stage else Reduction(_buckets(network))
        if self.reduction is not None:
            self.deepspeed.enable_backward_allreduce = False

    def set_learning_rate(self, rate: float) -> None:
        """Make Adam's step size ``rate`` from the next step on, for all parts."""
        for group in self.adam.param_groups:
            group["lr"] = rate

    def __call__(self, *inputs: Any) -> Any:
        """Forward for a backward pass that ends in :meth:`step`; once per backward."""
        return self.deepspeed(*inputs) if self.stage else self.network(*inputs)

    def expect(self, active: set[str]) -> None:
        """The next backward pass is the last one before the ``active`` parts are stepped."""
        if self.reduction is not None:
            groups = zip(self.parts, self.parameters, strict=True)
            self.reduction.expect([p for part, group in groups if part in active for p in group])

    def backward(self, loss: Tensor) -> None:
        """Differentiate a loss that this engine, and perhaps the other one, took part in."""
        if self.stage:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.deepspeed.backward(loss, scale_wrt_gas=False)

    def step(self, active: set[str]) -> None:
        """Average the gradients over ranks, step the ``active`` parts, drop all gradients."""
        if self.reduction is not None:
            self.reduction.finish()
        self.adam.active = active
        self.deepspeed.step()

    def count(self, active: set[str]) -> None:
        """Remember that the ``active`` parts have made a step, here or in a graph."""
        for index, part in enumerate(self.parts):
            self.steps[index] += part in active

    def partition(self, index: int) -> Tensor:
        """The share of part ``index`` that this rank optimizes, flat (ZeRO stages 1 and 2)."""
        return self.deepspeed.optimizer.single_partition_of_fp32_groups[index]  # type: ignore[no-any-return]


def _buckets(network: nn.Module) -> list[list[nn.Parameter]]:
    """What is reduced together: encoder and decoder are done at different times, D all at once."""
    wholes = network.children() if isinstance(network, DCVAE) else [network]
    return [list(whole.parameters()) for whole in wholes]


def build(networks: Mapping[str, nn.Module], training: TrainingConfig) -> dict[str, Engine]:
    """An engine for each of the networks, by their names."""
    return {name: Engine(network, training) for name, network in networks.items()}


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through ``network`` to its input, and compute none for its weights."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def prepare(device: torch.device) -> None:
    """Start DeepSpeed's communication on the process group that exists."""
    if device.type == "cpu":
        _skip_compilation(["deepspeed_shm_comm"])
    deepspeed.init_distributed(
        dist_backend="nccl" if device.type == "cuda" else "gloo", verbose=False
    )


def _skip_compilation(operators: Iterable[str]) -> None:
    for name in operators:
        deepspeed.ops.__compatible_ops__[name] = False


def _deepspeed_config(training: TrainingConfig) -> dict[str, Any]:
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": training.gradient_clipping,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": training.zero_stage},
        "timers": {"throughput": {"enabled": False}},
    }
    if training.zero_stage and not training.gradient_clipping:
        config["zero_optimization"]["compute_grad_norm"] = False
    if training.log_communication:
        config["comms_logger"] = {"enabled": True, "prof_all": True}
    if training.precision == "bfloat16":
        # Of no module are the gradients rounded for their way between ranks.
        config["torch_autocast"] = {
            "enabled": True,
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],
        }
    return config
