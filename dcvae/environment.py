"""Every environment variable of dcvae: what it means, who sets it, and its name, once."""

from typing import Self

USERS, CLUSTER, OURSELVES, DEVELOPERS = "users", "cluster", "dcvae itself", "developers"


class Variable(str):
    """The name of an environment variable; usable wherever a name is."""

    meaning: str
    default: str
    set_by: str

    def __new__(cls, name: str, set_by: str, meaning: str, default: str = "") -> Self:
        """``default`` says in words what applies when the variable is not set."""
        variable = super().__new__(cls, name)
        variable.set_by, variable.meaning, variable.default = set_by, meaning, default
        return variable


SOURCES = Variable(
    "DCVAE_SOURCES",
    USERS,
    "Folder of published data sets (`torchvision:NAME`), in torchvision's layout.",
    "`~/.cache/dcvae/sources`",
)
SPILL_BYTES = Variable(
    "DCVAE_SPILL_BYTES",
    USERS,
    "Bytes of temporary files that may be used to bring a source's images into a random order.",
    "half of the free disk space, 32 GiB at most",
)
INCEPTION_WEIGHTS = Variable(
    "DCVAE_INCEPTION_WEIGHTS",
    USERS,
    "Path or URI of the weights of the extractor inception-v3.",
    "the file in torch hub's cache",
)
PERCEPTUAL_WEIGHTS = Variable(
    "DCVAE_PERCEPTUAL_WEIGHTS",
    USERS,
    "Path or URI of the weights of the perceptual network.",
    "the file in torch hub's cache",
)
S3 = {
    key: Variable(
        f"DCVAE_S3_{key}",
        CLUSTER,
        f"Overrides `AWS_{key}`, which Kubeflow's launcher in the same container reads too.",
        f"`AWS_{key}`",
    )
    for key in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "ENDPOINT_URL", "REGION")
}
STORAGE_FIRST_PATIENCE = Variable(
    "DCVAE_STORAGE_FIRST_PATIENCE",
    USERS,
    "Seconds for which requests to a storage that has never answered are retried.",
    "12; 120 in the steps of a pipeline",
)
STORAGE_PATIENCE = Variable(
    "DCVAE_STORAGE_PATIENCE",
    USERS,
    "Seconds for which requests to a storage that has answered before are retried.",
    "120; 1800 in the steps of a pipeline",
)
STORAGE_TIMEOUT = Variable(
    "DCVAE_STORAGE_TIMEOUT",
    USERS,
    "Seconds without a byte from the storage before a request is sent again.",
    "15",
)
LOGS = Variable(
    "DCVAE_LOGS",
    USERS,
    "Folder for the ranks' log files, which are then kept.",
    "a temporary folder, removed after a training that succeeds",
)
METRICS_PORT = Variable(
    "DCVAE_METRICS_PORT",
    CLUSTER,
    "Prometheus port of a node's first rank, if `training.metrics_port` is not set.",
    "no server",
)
TRAINING_RUNTIME = Variable(
    "DCVAE_TRAINING_RUNTIME",
    CLUSTER,
    "TrainingRuntime that the cluster's TrainJobs use.",
    "ranks are started on this machine",
)
RANKS_PER_NODE = Variable(
    "DCVAE_RANKS_PER_NODE", CLUSTER, "Ranks in each pod of a TrainJob: a node's GPUs.", "1"
)
TRAINING_DEADLINE_SECONDS = Variable(
    "DCVAE_TRAINING_DEADLINE_SECONDS",
    CLUSTER,
    "Seconds after which a TrainJob is ended.",
    "604800, a week",
)
TRAINING_START_SECONDS = Variable(
    "DCVAE_TRAINING_START_SECONDS",
    CLUSTER,
    "Seconds within which all ranks of a TrainJob must have started.",
    "3600",
)
TRAINING_QUEUE = Variable(
    "DCVAE_TRAINING_QUEUE", CLUSTER, "Kueue's LocalQueue that TrainJobs wait in.", "no queue"
)
REGISTRY = Variable(
    "DCVAE_REGISTRY",
    USERS,
    "A registry that shows the models too: `kubeflow` or `mlflow` (at `MLFLOW_TRACKING_URI`).",
    "`s3`: only the registry in the bucket",
)
REGISTRY_ADDRESS = Variable(
    "DCVAE_REGISTRY_ADDRESS",
    USERS,
    "Address of Kubeflow Model Registry.",
    "`http://model-registry-service.kubeflow.svc.cluster.local:8080`",
)
PUSHGATEWAY = Variable(
    "DCVAE_PUSHGATEWAY",
    CLUSTER,
    "Address of a Pushgateway that each step reports to as it ends.",
    "nothing is pushed",
)
PIPELINE = Variable("DCVAE_PIPELINE", OURSELVES, "The pipeline that a step belongs to.")
STEP = Variable("DCVAE_STEP", OURSELVES, "The title of the step.")
PARENT_PID = Variable(
    "DCVAE_PARENT_PID", OURSELVES, "ID of the parent process, with which this one must end."
)
RUN_PID = Variable(
    "DCVAE_RUN_PID", OURSELVES, "ID of the local pipeline's process, with which this one must end."
)
RANK_LOGS = Variable("DCVAE_RANK_LOGS", OURSELVES, "Folder for the logs of one start of the ranks.")
EMBEDDED_S3 = Variable(
    "DCVAE_EMBEDDED_S3", OURSELVES, "Folder of the embedded S3 server's files, if it is used."
)
UI_PORT = Variable(
    "DCVAE_UI_PORT",
    DEVELOPERS,
    "Local port for the web pages of the cluster that `make minikube` creates.",
    "8080",
)
CLUSTER_IMAGE = Variable(
    "DCVAE_CLUSTER_IMAGE", DEVELOPERS, "Image that `pytest -m cluster` trains with."
)
CLUSTER_STORAGE = Variable(
    "DCVAE_CLUSTER_STORAGE",
    DEVELOPERS,
    "Where in the cluster's storage the pipelines of `pytest -m cluster` write.",
    "s3://mlpipeline/dcvae-tests",
)
TEST_OUTAGE = Variable(
    "DCVAE_TEST_OUTAGE", DEVELOPERS, "Length in seconds of the tests' storage outages.", "3 or 4"
)
TEST_CASES = Variable(
    "DCVAE_TEST_CASES",
    DEVELOPERS,
    "Number of cases in the test that runs every verb on damaged input.",
    "300; 10000 with `make fuzz`",
)
TEST_INTERRUPTIONS = Variable(
    "DCVAE_TEST_INTERRUPTIONS",
    DEVELOPERS,
    "Number of writes at which the tests of sharding interrupt it.",
    "6",
)
TEST_RECORDS = Variable(
    "DCVAE_TEST_RECORDS", DEVELOPERS, "Number of images in the stream's memory test.", "25000"
)

VARIABLES = (
    *(value for value in dict(globals()).values() if isinstance(value, Variable)),
    *S3.values(),
)
