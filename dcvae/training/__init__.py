"""Training: schedule, engines, step, loop, checkpoints and telemetry."""
