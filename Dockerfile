# syntax=docker/dockerfile:1.7
# The image of every step and rank. No compiler and no pip cache in the final stage; not root.
#   docker build --tag ghcr.io/dcvae/dcvae:0.1.0 .
# runs on GPUs and without. A smaller one for processors alone takes PyTorch's CPU builds, which
# only PyTorch's own index has:
#   docker build --build-arg TORCH_INDEX=<that index> --tag ghcr.io/dcvae/dcvae:0.1.0-cpu .

FROM python:3.11.13-slim-bookworm AS build
ARG TORCH_INDEX=""
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /build
RUN python -m venv /opt/dcvae
COPY requirements.lock constraints.txt ./
# What only tests and linters need stays out; with PyTorch's CPU builds, so do PyTorch from the lock
# with the CUDA libraries that its wheel needs, and Triton.
RUN --mount=type=cache,target=/root/.cache/pip \
    without='boto3-stubs|botocore-stubs|hypothesis|kubectl-|kubernetes-validate|mypy|playwright|pytest|ruff|types-'; \
    if [ -n "$TORCH_INDEX" ]; then \
      without="$without|nvidia-|cuda-|triton|torch==|torchvision=="; \
      grep -E '^(torch|torchvision)==' constraints.txt | sed 's/$/+cpu/' > torch.txt; \
      /opt/dcvae/bin/pip install --no-deps --index-url "$TORCH_INDEX" --requirement torch.txt; \
    fi; \
    awk -v without="^($without)" '/^[a-z]/ { keep = $0 !~ without } keep' \
      requirements.lock > wanted.lock; \
    /opt/dcvae/bin/pip install --no-deps --require-hashes --requirement wanted.lock
COPY pyproject.toml README.md LICENSE ./
COPY dcvae dcvae
COPY components components
COPY pipelines pipelines
RUN /opt/dcvae/bin/pip install --no-deps --no-build-isolation . \
    && find /opt/dcvae -name __pycache__ -prune -exec rm -rf {} +

FROM python:3.11.13-slim-bookworm
LABEL org.opencontainers.image.title="dcvae" \
      org.opencontainers.image.description="Steps and ranks of DC-VAE trainings" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/dcvae /opt/dcvae
ENV PATH=/opt/dcvae/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT []
CMD ["dcvae", "--help"]
