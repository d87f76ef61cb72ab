"""This rank's device: which one, its arithmetic, its memory layout, and its CUDA graphs."""

import os

import torch

from dcvae.config import Config
from dcvae.errors import UserError
from dcvae.messages import Notice, emit
from dcvae.training import ranks
from dcvae.training.graphs import CudaRecorder, Graphs
from dcvae.updates import Networks

TENSOR_CORES = (8, 0)
"""Lowest compute capability of a GPU with TF32 and bfloat16."""


def own_device() -> torch.device:
    """This rank's GPU on its node, or the CPU."""
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device
    return torch.device("cpu")


def prepare(device: torch.device, config: Config) -> None:
    """Have convolutions and matrix products use the arithmetic that ``training.precision`` names.

    cuDNN benchmarks its kernels once for each shape; a phase has few shapes. Raises UserError for a
    precision that the device does not have.
    """
    precision = config.training.precision
    on_gpu = device.type == "cuda"
    if precision == "tf32" and not (
        on_gpu and torch.cuda.get_device_capability(device) >= TENSOR_CORES
    ):
        raise UserError(
            "training.precision=tf32 needs an NVIDIA GPU of the Ampere generation or later; "
            "use float32 or bfloat16"
        )
    multiply_in("tf32" if precision == "tf32" else "ieee")
    torch.backends.cudnn.benchmark = on_gpu


def multiply_in(mode: str) -> None:
    """Compute both float32 convolutions and matrix products on a GPU in ``ieee`` or ``tf32``."""
    # By these names alone: set by the newer ones, torch.export in the same process refuses to run.
    torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
    torch.backends.cudnn.allow_tf32 = mode == "tf32"


def layout(device: torch.device, config: Config) -> torch.memory_format:
    """The faster memory layout of images: channels last, or contiguous.

    Tensor cores prefer channels last, and so do CPUs for AutoGAN's maps. Progressive GAN's wide and
    small maps are slower with it on a CPU.
    """
    low = device.type == "cuda" and config.training.precision != "float32"
    by_pixel = low or config.model.backbone == "autogan"
    return torch.channels_last if by_pixel else torch.contiguous_format


def lay_out(networks: Networks, device: torch.device, config: Config) -> None:
    """Store weights in the :func:`layout` of the images; after engines have been built on them.

    DeepSpeed sends only contiguous weights between ranks when it starts. With ZeRO they stay as
    they are: views of its flat buffers.
    """
    if not config.training.zero_stage:
        networks.lay_out(layout(device, config))


def graphs(device: torch.device, config: Config) -> Graphs:
    """What records updates as CUDA graphs; prints a notice if a GPU cannot."""
    if device.type != "cuda" or not config.training.cuda_graphs:
        return Graphs(None)
    if ranks.world_size() > 1 or config.training.zero_stage:
        why = "several ranks talk" if ranks.world_size() > 1 else "ZeRO divides what is stepped"
        emit(Notice(f"updates are launched kernel by kernel: {why} in the middle of them"))
        return Graphs(None)
    return Graphs(CudaRecorder())
