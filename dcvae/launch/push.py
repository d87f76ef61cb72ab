"""A step's metrics for Prometheus, pushed when it ends, since it may be gone before a scrape."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dcvae.environment import PIPELINE, PUSHGATEWAY, STEP
from dcvae.terminal import one_line

_JOB = "dcvae-steps"
_TIMEOUT = 5
_COUNTED = {
    "storage_retries": ("dcvae_storage_retries_total", "Storage requests sent again."),
    "storage_errors": ("dcvae_storage_errors_total", "Storage operations that were given up."),
    "skipped_images": ("dcvae_shard_skipped_images_total", "Images that could not be used."),
}


@contextmanager
def pushing() -> Iterator[None]:
    """Wraps a step; pushes how long it took, whether it succeeded, and its counters.

    They replace those of the last run of the same step of the same pipeline. A gateway that does
    not answer, or a bad address, costs a warning and a few seconds, but never the step.
    """
    gateway = os.environ.get(PUSHGATEWAY)
    if not gateway:
        yield
        return
    began, succeeded = time.time(), False
    try:
        yield
        succeeded = True
    finally:
        _push(gateway, time.time() - began, succeeded)


def _push(gateway: str, seconds: float, succeeded: bool) -> None:
    from prometheus_client import REGISTRY, CollectorRegistry, Gauge, push_to_gateway

    own = CollectorRegistry()
    Gauge("dcvae_task_seconds", "Time the step took.", registry=own).set(seconds)
    Gauge("dcvae_task_success", "1 if it succeeded, else 0.", registry=own).set(succeeded)
    end = Gauge("dcvae_task_end_timestamp_seconds", "When it ended.", registry=own)
    end.set_to_current_time()
    for name, (counter, description) in _COUNTED.items():
        gauge = Gauge(f"dcvae_task_{name}", description, registry=own)
        gauge.set(REGISTRY.get_sample_value(counter) or 0)
    names = {"pipeline": PIPELINE, "step": STEP}
    group = {label: os.environ.get(variable, "unknown") for label, variable in names.items()}
    try:
        push_to_gateway(gateway, _JOB, own, group, timeout=_TIMEOUT)
    except Exception as error:  # a bad address, a server that does not speak HTTP: anything
        why = one_line(error) if isinstance(error, OSError) else type(error).__name__
        told = f"the step's numbers could not be pushed to {one_line(gateway)}: {why}"
        without_password = re.sub("//[^/ ]*@", "//", told)
        print(f"warning: {without_password}", flush=True)
