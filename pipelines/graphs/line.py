"""The line of steps that experiments share: shard → train → evaluate → register."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from kfp import dsl, kubernetes
from kfp.dsl import structures
from kfp.dsl.pipeline_context import Pipeline

from components.evaluate import evaluate
from components.numbers import numbers
from components.register import register
from components.shard import shard
from components.shard_part import shard_part
from components.train import train
from dcvae import environment
from dcvae.presets import LAST, SELECT_BY

SECRET = "dcvae-storage"
"""Secret with the AWS_ variables of the storage; absent if the cloud provides an identity."""
SECRET_KEYS = {f"AWS_{key}": variable for key, variable in environment.S3.items()}
"""The steps' variables for its keys. They are not called AWS_ because Kubeflow's launcher, in the
same container, would then use our storage for its own artifacts."""
COMPONENT = "dcvae-step"
"""Label of the steps' pods, by which network policies select them."""
CLUSTER = "dcvae-cluster"
"""ConfigMap of k8s/base with how to start ranks."""
CLUSTER_KEYS = (
    environment.TRAINING_RUNTIME,
    environment.RANKS_PER_NODE,
    environment.TRAINING_DEADLINE_SECONDS,
    environment.TRAINING_START_SECONDS,
)
OPTIONAL_CLUSTER_KEYS = (environment.TRAINING_QUEUE, environment.METRICS_PORT)

GPU = "nvidia.com/gpu"
RETRIES = 3
RETRY_WINDOW = 2 * (RETRIES + 1) * 7 * 24 * 3600
"""Seconds after a step's first start within which it may be retried, and after which any attempt is
stopped: more than all attempts of a training may take by k8s/base, queues included."""
STORAGE_PATIENCE = {
    environment.STORAGE_FIRST_PATIENCE: "120",
    environment.STORAGE_PATIENCE: "1800",
}
"""Steps wait out storage outages themselves, since one that gives up ends its run."""
REGISTRY_KEYS = (environment.REGISTRY, environment.REGISTRY_ADDRESS, "MLFLOW_TRACKING_URI")
"""Key of that ConfigMap: another registry that shows the models."""
REGISTRY_SECRET = "dcvae-registry"
"""Secret with that registry's credentials, if it needs any."""
REGISTRY_SECRET_KEYS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)


class Results(NamedTuple):
    """What a run leaves behind, as URIs."""

    data: str
    snapshot: str
    evaluation: str
    model: str


@dataclass(frozen=True)
class Size:
    """What a step may use of a node. Requests equal limits: no step is evicted for another."""

    cpu: str
    memory: str
    gpus: int = 0


CPU_STEP = Size(cpu="4", memory="8Gi")
"""Size of an experiment's steps that shard or register."""
FOLLOWING = Size(cpu="250m", memory="1Gi")
"""Size of steps that start a training and follow it."""
GPU_STEP = Size(cpu="8", memory="32Gi", gpus=1)
"""Size of steps that run the model."""


def line(
    *,
    source: str,
    storage: str,
    name: str,
    preset: str,
    settings: list[str],
    held_out: float,
    ranks: int,
    protocol: str,
    maximum: dict[str, float],
    registry: str = "",
    shard_options: str = "",
    small: Size = CPU_STEP,
    large: Size = GPU_STEP,
    weights: str = "",
    perceptual_weights: str = "",
    last: int = LAST,
    select_by: str = SELECT_BY,
    num_tasks: int = 1,
) -> Results:
    """Add the four steps to the pipeline being defined.

    Parameters may be values or the pipeline's own parameters. ``small`` is the size of the steps
    that shard and register, ``large`` of the one that runs the model; the training runtime sizes
    the ranks. ``num_tasks`` tasks make the shard set; the number 1, given here and not as a
    parameter, leaves out the loop. The gate is inside the last step, because conditions around
    steps are easily wrong.
    """
    images = {
        "source": source,
        "storage": storage,
        "name": name,
        "preset": preset,
        "settings": settings,
        "held_out": held_out,
        "shard_options": shard_options,
    }
    cut = cut_images(num_tasks, images, small)
    trained, measured = train_and_evaluate(
        data=cut.outputs["Output"],
        storage=storage,
        protocol=protocol,
        weights=weights,
        perceptual_weights=perceptual_weights,
        last=last,
        select_by=select_by,
        champion=name,
        size=large,
        preset=preset,
        settings=settings,
        ranks=ranks,
        name=name,
        maximum=maximum,
        registry=registry,
    )
    registered = register(
        evaluation=measured.outputs["Output"],
        data=cut.outputs["Output"],
        storage=storage,
        name=name,
        maximum=maximum,
        registry=registry,
        weights=weights,
        perceptual_weights=perceptual_weights,
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,  # the ID, since runs of a schedule have no name here
    )
    prepare(registered, "Register, and judge against the champion", small)
    kubernetes.use_config_map_as_env(
        registered, CLUSTER, {key: key for key in REGISTRY_KEYS}, optional=True
    )
    kubernetes.use_secret_as_env(
        registered, REGISTRY_SECRET, {key: key for key in REGISTRY_SECRET_KEYS}, optional=True
    )
    return Results(
        data=cut.outputs["Output"],
        snapshot=trained.outputs["Output"],
        evaluation=measured.outputs["Output"],
        model=registered.outputs["Output"],
    )


def train_and_evaluate(
    *,
    data: Any,
    storage: Any,
    protocol: Any,
    weights: Any,
    perceptual_weights: Any,
    last: Any,
    select_by: Any = SELECT_BY,
    size: Size,
    champion: Any = "",
    label: str = "",
    **training: Any,
) -> tuple[Any, Any]:
    """A task that trains, with the step's inputs ``training``, and one that measures the model.

    Before training, the first one checks that the second will be able to measure by ``protocol``,
    and the gate to judge by ``maximum``. ``size`` is that of the second, which also measures the
    registry's ``champion`` if needed. ``label`` in their titles tells them from similar tasks.
    """
    how = {
        "protocol": protocol,
        "weights": weights,
        "perceptual_weights": perceptual_weights,
        "last": last,
        "select_by": select_by,
    }
    trained = train(data=data, storage=storage, **how, **training)
    measured = evaluate(
        snapshot=trained.outputs["Output"],
        data=data,
        storage=storage,
        champion=champion,
        **how,
    )
    prepare(trained, f"Train {label}".strip(), FOLLOWING)
    # Not optional: without it the step would train in its own small pod.
    kubernetes.use_config_map_as_env(trained, CLUSTER, {key: key for key in CLUSTER_KEYS})
    optional = {key: key for key in OPTIONAL_CLUSTER_KEYS}
    kubernetes.use_config_map_as_env(trained, CLUSTER, optional, optional=True)
    prepare(measured, f"Evaluate {label}".strip(), size)
    return trained, measured


def cut_images(num_tasks: int, images: dict[str, Any], size: Size) -> Any:
    """One task that makes the shard set, or a loop of tasks and one that publishes the set."""
    title = "Cut images into shards"
    made = {}
    if not isinstance(num_tasks, int) or num_tasks > 1:  # a parameter cannot be compared
        counted = numbers(count=num_tasks)
        prepare(counted, "Count the parts", Size(cpu="500m", memory="512Mi"))
        with dsl.ParallelFor(counted.output) as part:
            piece = shard_part(part=part, parts=num_tasks, **images)
            prepare(piece, "Cut a part of the images", size)
        # Not .after(): a step can only follow those inside a loop by their collected results.
        made, title = {"made": dsl.Collected(piece.output)}, "Publish the shards"
    cut = shard(**images, **made)
    prepare(cut, title, size)
    return cut


def prepare(task: Any, title: str, size: Size) -> None:
    """What each step needs on a cluster: size, storage, scratch space, retries."""
    task.set_display_name(title)
    # Not by KFP's setters: each inspects the whole call stack in case of an error, so defining the
    # pipelines would take a minute if many modules are loaded.
    task.container_spec.resources = structures.ResourceSpec(
        cpu_request=size.cpu,
        cpu_limit=size.cpu,
        memory_request=size.memory,
        memory_limit=size.memory,
        accelerator_type=GPU if size.gpus else None,
        accelerator_count=str(size.gpus) if size.gpus else None,
    )
    if size.gpus:  # clouds taint such nodes
        kubernetes.add_toleration(task, key=GPU, operator="Exists", effect="NoSchedule")
    # Each step looks for its finished result itself, by content. Kubeflow's cache compares only
    # parameters: it would miss new images, and trust results that have been deleted.
    task.set_caching_options(False)
    # For pods that are evicted or lost with their node. Kubeflow never retries a step that has
    # exited by itself, so steps wait out passing faults inside. Each attempt goes on where the last
    # one was stopped. The default window would be an hour.
    task.set_retry(
        num_retries=RETRIES,
        backoff_duration="60s",
        backoff_factor=2,
        backoff_max_duration=f"{RETRY_WINDOW}s",
    )
    # Kubeflow itself drops all capabilities and sets seccomp; with this, a step may run in a
    # namespace that enforces Pod Security "restricted". The image or OpenShift sets the user.
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.use_secret_as_env(task, SECRET, SECRET_KEYS, optional=True)
    kubernetes.empty_dir_mount(task, volume_name="tmp", mount_path="/tmp", size_limit="20Gi")
    kubernetes.empty_dir_mount(
        task, volume_name="shm", mount_path="/dev/shm", medium="Memory", size_limit="2Gi"
    )
    kubernetes.add_pod_label(task, "app.kubernetes.io/component", COMPONENT)
    # The outcome, for Prometheus: the cluster's configuration names the Pushgateway, if any.
    name = Pipeline.get_default_pipeline().name
    task.container_spec.env = {
        environment.STEP: title,
        environment.PIPELINE: name,
        **STORAGE_PATIENCE,
    }
    gateway = {environment.PUSHGATEWAY: environment.PUSHGATEWAY}
    kubernetes.use_config_map_as_env(task, CLUSTER, gateway, optional=True)
