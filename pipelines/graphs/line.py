"""The line every experiment runs along: shard → train → evaluate → register."""

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

SECRET = "dcvae-storage"
"""Secret with the AWS_ variables of the storage; absent where the cloud gives an identity."""
SECRET_KEYS = {f"AWS_{key}": variable for key, variable in environment.S3.items()}
"""Its keys → the steps' variables. Not AWS_ there: Kubeflow's launcher, in the same container,
would go to our storage for its own artifacts."""
COMPONENT = "dcvae-step"
"""Label of the steps' pods, by which network policies know them."""
CLUSTER = "dcvae-cluster"
"""ConfigMap of k8s/base that says how ranks are started."""
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
"""Seconds from the start of a step's first try in which it may be tried again, after which any try
is stopped: above what all tries of a training may take by k8s/base, queues included."""
STORAGE_PATIENCE = {
    environment.STORAGE_FIRST_PATIENCE: "120",
    environment.STORAGE_PATIENCE: "1800",
}
"""Steps wait out an outage of the storage themselves: one that gives up ends its run."""
REGISTRY_KEYS = (environment.REGISTRY, environment.REGISTRY_ADDRESS, "MLFLOW_TRACKING_URI")
"""Of the same ConfigMap: another registry that shows the models."""
REGISTRY_SECRET = "dcvae-registry"
"""Secret with what that registry asks for, where it asks."""
REGISTRY_SECRET_KEYS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)

SNAPSHOTS, SELECT_BY = 5, "frechet_sampling"
"""How many of a run's last snapshots are compared, and by what, before the best is measured."""


class Results(NamedTuple):
    """What a run leaves behind, as URIs."""

    data: str
    snapshot: str
    evaluation: str
    model: str


@dataclass(frozen=True)
class Size:
    """What one step may use of a node. Requests equal limits: no step is evicted for another."""

    cpu: str
    memory: str
    gpus: int = 0


CPU_STEP = Size(cpu="4", memory="8Gi")
"""Of an experiment's steps that cut or register."""
FOLLOWING = Size(cpu="250m", memory="1Gi")
"""Of the steps that start a training and follow it."""
GPU_STEP = Size(cpu="8", memory="32Gi", gpus=1)
"""Of its steps that run the model."""


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
    small: Size = CPU_STEP,
    large: Size = GPU_STEP,
    weights: str = "",
    snapshots: int = SNAPSHOTS,
    select_by: str = SELECT_BY,
    num_tasks: int = 1,
) -> Results:
    """Add the four steps to the pipeline being defined.

    Parameters may be values or the pipeline's own parameters. ``small`` is the size of the steps
    that cut and register, ``large`` of the one that runs the model; ranks have
    the size that the training runtime gives them. ``num_tasks`` tasks share the cutting; the number
    1, given here and not as a parameter, leaves out the loop. The gate is inside the last step: a
    condition around a step is what pipelines get wrong most easily.
    """
    images = {
        "source": source,
        "storage": storage,
        "name": name,
        "preset": preset,
        "settings": settings,
        "held_out": held_out,
    }
    cut = cut_images(num_tasks, images, small)
    trained, measured = train_and_evaluate(
        data=cut.outputs["Output"],
        storage=storage,
        protocol=protocol,
        weights=weights,
        snapshots=snapshots,
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
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,  # the runs of a schedule have no name here
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
    snapshots: Any,
    select_by: Any = SELECT_BY,
    size: Size,
    champion: Any = "",
    label: str = "",
    **training: Any,
) -> tuple[Any, Any]:
    """A task that trains, with the step's inputs ``training``, and one that measures the model.

    Before it trains, the first looks whether the second will be able to measure by ``protocol``,
    and the gate to judge by ``maximum``. ``size`` is of the second, which measures the registry's
    ``champion`` too if it has to.
    ``label`` stands in their titles, to tell them from others of their kind.
    """
    how = {"protocol": protocol, "weights": weights}
    trained = train(data=data, storage=storage, **how, **training)
    measured = evaluate(
        snapshot=trained.outputs["Output"],
        data=data,
        storage=storage,
        last=snapshots,
        select_by=select_by,
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
    """One task that cuts, or a loop of them and one that publishes what they have made."""
    title = "Cut images into shards"
    made = {}
    if not isinstance(num_tasks, int) or num_tasks > 1:  # a parameter cannot be compared
        counted = numbers(count=num_tasks)
        prepare(counted, "Count the parts", Size(cpu="500m", memory="512Mi"))
        with dsl.ParallelFor(counted.output) as part:
            piece = shard_part(part=part, parts=num_tasks, **images)
            prepare(piece, "Cut a part of the images", size)
        # Not .after(): a step cannot follow one inside a loop but by its collected results.
        made, title = {"made": dsl.Collected(piece.output)}, "Publish the shards"
    cut = shard(**images, **made)
    prepare(cut, title, size)
    return cut


def prepare(task: Any, title: str, size: Size) -> None:
    """What each step needs on a cluster: size, storage, room to work, another try."""
    task.set_display_name(title)
    # Not by KFP's setters: each walks the whole call stack for the case of an error, and defining
    # the pipelines would take a minute where many modules are loaded.
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
    # parameters: it would overlook new images, and trust results that were deleted since.
    task.set_caching_options(False)
    # For a pod that is lost with its node, or evicted: Kubeflow tries nothing again that has ended
    # with an exit code of its own, so what may pass is waited for inside the step. Each try goes on
    # where the last one was stopped. Without a window Kubeflow's would be an hour.
    task.set_retry(
        num_retries=RETRIES,
        backoff_duration="60s",
        backoff_factor=2,
        backoff_max_duration=f"{RETRY_WINDOW}s",
    )
    # Kubeflow itself drops all capabilities and sets seccomp; with this, a step may run in a
    # namespace that enforces Pod Security "restricted". Which user, the image says, or OpenShift.
    kubernetes.set_security_context(task, run_as_non_root=True)
    kubernetes.use_secret_as_env(task, SECRET, SECRET_KEYS, optional=True)
    kubernetes.empty_dir_mount(task, volume_name="tmp", mount_path="/tmp", size_limit="20Gi")
    kubernetes.empty_dir_mount(
        task, volume_name="shm", mount_path="/dev/shm", medium="Memory", size_limit="2Gi"
    )
    kubernetes.add_pod_label(task, "app.kubernetes.io/component", COMPONENT)
    # How it went, for Prometheus: where to tell it is the cluster's to say, if it is wanted.
    name = Pipeline.get_default_pipeline().name
    task.container_spec.env = {
        environment.STEP: title,
        environment.PIPELINE: name,
        **STORAGE_PATIENCE,
    }
    gateway = {environment.PUSHGATEWAY: environment.PUSHGATEWAY}
    kubernetes.use_config_map_as_env(task, CLUSTER, gateway, optional=True)
