# syntax=docker/dockerfile:1.7
# The image of every step and rank. No compiler and no pip cache in the final stage; not root.
#   docker build --tag ghcr.io/dcvae/dcvae:0.1.0 .
# runs on GPUs and without. A smaller one for processors alone takes PyTorch's CPU builds, which
# only PyTorch's own index has:
#   docker build --build-arg TORCH_INDEX=<that index> --tag ghcr.io/dcvae/dcvae:0.1.0-cpu .
# On GPUs it needs NVIDIA's driver 580 or newer, for CUDA 13; a container on an older one is not
# started, and says so.

# A digest pins more than a version does: BASE=python:3.11.13-slim-bookworm@sha256:…
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS build
ARG TORCH_INDEX=""
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /build
RUN python -m venv /opt/dcvae
COPY requirements.lock constraints.txt pyproject.toml k8s/image_lock.py ./
# What only tests and linters need stays out; with PyTorch's CPU builds, so do PyTorch from the lock
# with the CUDA libraries that its wheel needs, and Triton.
RUN --mount=type=cache,target=/root/.cache/pip \
    without=""; \
    if [ -n "$TORCH_INDEX" ]; then \
      without='(nvidia-.*|cuda-.*|triton|torch|torchvision)$'; \
      grep -E '^(torch|torchvision)==' constraints.txt | sed 's/$/+cpu/' > torch.txt; \
      /opt/dcvae/bin/pip install --no-deps --index-url "$TORCH_INDEX" --requirement torch.txt; \
    fi; \
    python image_lock.py "$without" > wanted.lock; \
    /opt/dcvae/bin/pip install --no-deps --require-hashes --requirement wanted.lock
COPY README.md LICENSE ./
COPY dcvae dcvae
# Beside the library, for the upload of all pipelines; steps need the library alone.
COPY components /opt/dcvae/experiments/components
COPY pipelines /opt/dcvae/experiments/pipelines
RUN /opt/dcvae/bin/pip install --no-deps --no-build-isolation . \
    && find /opt/dcvae -name __pycache__ -prune -exec rm -rf {} +

FROM ${BASE}
# NCCL's way to InfiniBand and RoCE, where a node has them; 30 MB of images for pipelines/fashion.py.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        dataset-fashion-mnist ibverbs-providers libibverbs1 \
    && rm -rf /var/lib/apt/lists/*
LABEL org.opencontainers.image.title="dcvae" \
      org.opencontainers.image.description="Steps and ranks of DC-VAE trainings" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/dcvae /opt/dcvae
ENV PATH=/opt/dcvae/bin:$PATH \
    PYTHONPATH=/opt/dcvae/experiments \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    NVIDIA_REQUIRE_CUDA="cuda>=13.0"
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT []
CMD ["dcvae", "--help"]
