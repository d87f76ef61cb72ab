"""The two DeepSpeed engines: one for encoder and decoder, one for the dual encoder.

What DeepSpeed does by default, and what is done about it here:

- it clips gradients at 1.0: our configuration always states the clipping;
- it turns missing gradients into zeros, which decay Adam's moments of inactive parts:
  :class:`PartAdam` steps only the active parts;
- its gradient accumulation counts backward passes, which two engines and three updates would
  confuse: the boundary is where we call ``step`` (``managed_gradient_accumulation`` off);
- it averages gradients after the backward pass: without ZeRO, :class:`Reduction` averages them
  meanwhile, in one message per network; ``zero_stage`` 1 and 2 leave it to DeepSpeed;
- its throughput timer waits for the device at every step: off;
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
    """Adam with one parameter group per part of a network; steps only the ``active`` parts."""

    def __init__(self, parts: dict[str, list[nn.Module]], **options: Any) -> None:
        groups = [
            {"params": [p for m in modules for p in m.parameters()], "part": name}
            for name, modules in parts.items()
        ]
        super().__init__(groups, **options)
        self.active: set[str] = set(parts)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Step the active parts; the moments of the others stay as they are."""
        groups = self.param_groups
        self.param_groups = [g for g in groups if g["part"] in self.active]
        try:
            return super().step(closure) if self.param_groups else None
        finally:
            self.param_groups = groups


class Engine:
    """A network under DeepSpeed: forward passes, and steps of its active parts."""

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
        """How many steps each part has made."""
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
        """The forward pass of a backward pass that ends in :meth:`step`; once per backward."""
        return self.deepspeed(*inputs) if self.stage else self.network(*inputs)

    def expect(self, active: set[str]) -> None:
        """Announce that the next backward pass is the last before the ``active`` parts step."""
        if self.reduction is not None:
            groups = zip(self.parts, self.parameters, strict=True)
            self.reduction.expect([p for part, group in groups if part in active for p in group])

    def backward(self, loss: Tensor) -> None:
        """Differentiate a loss that was computed through this engine, and perhaps the other."""
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
        """Count a step of the ``active`` parts, made here or by a CUDA graph."""
        for index, part in enumerate(self.parts):
            self.steps[index] += part in active

    def partition(self, index: int) -> Tensor:
        """The share of part ``index`` that this rank optimizes, flat (ZeRO stages 1 and 2)."""
        return self.deepspeed.optimizer.single_partition_of_fp32_groups[index]  # type: ignore[no-any-return]


def _buckets(network: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters reduced together: encoder and decoder apart, whose gradients end apart; D."""
    wholes = network.children() if isinstance(network, DCVAE) else [network]
    return [list(whole.parameters()) for whole in wholes]


def build(networks: Mapping[str, nn.Module], training: TrainingConfig) -> dict[str, Engine]:
    """An engine for each network, by its name."""
    return {name: Engine(network, training) for name, network in networks.items()}


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within the block, gradients pass through ``network``, but its weights receive none."""
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
        # Gradients are exchanged in float32, whatever the precision of the networks.
        config["torch_autocast"] = {
            "enabled": True,
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],
        }
    return config
