"""This rank's device: which it is, how it multiplies, how images lie on it, what it records."""

import os

import torch

from dcvae.config import Config
from dcvae.errors import UserError
from dcvae.messages import Notice, emit
from dcvae.training import ranks
from dcvae.training.graphs import CudaRecorder, Graphs

TENSOR_CORES = (8, 0)
"""Compute capability from which a GPU multiplies in TF32 and bfloat16."""


def own_device() -> torch.device:
    """The GPU of this rank on its node, or the processor."""
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device
    return torch.device("cpu")


def prepare(device: torch.device, config: Config) -> None:
    """Have ``device`` multiply as ``training.precision`` says, in convolutions and products alike.

    cuDNN tries its kernels once for each shape, of which a phase has few. Raises UserError for a
    precision that the device has no arithmetic for.
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
    """Let float32 convolutions and matrix products on a GPU be ``ieee`` or ``tf32``, both."""
    torch.backends.cuda.matmul.fp32_precision = mode
    torch.backends.cudnn.conv.fp32_precision = mode  # type: ignore[attr-defined]


def layout(device: torch.device, config: Config) -> torch.memory_format:
    """How images lie in memory: by pixel where convolutions are faster so, else by channel.

    Tensor cores want pixels together, and so do the processors for AutoGAN's maps. Progressive
    GAN's wide and small maps are slower with it on a processor.
    """
    low = device.type == "cuda" and config.training.precision != "float32"
    by_pixel = low or config.model.backbone == "autogan"
    return torch.channels_last if by_pixel else torch.contiguous_format


def graphs(device: torch.device, config: Config) -> Graphs:
    """What updates are recorded in, which only a GPU does; says why where it cannot be."""
    if device.type != "cuda" or not config.training.cuda_graphs:
        return Graphs(None)
    if ranks.world_size() > 1 or config.training.zero_stage:
        why = "several ranks talk" if ranks.world_size() > 1 else "ZeRO divides what is stepped"
        emit(Notice(f"updates are launched kernel by kernel: {why} in the middle of them"))
        return Graphs(None)
    return Graphs(CudaRecorder())
