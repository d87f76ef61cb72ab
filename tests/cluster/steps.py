"""Steps as Kubeflow would run them, without it: a pod that starts a training and follows it."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dcvae.config import Config
from dcvae.launch.trainjob import cluster_ranks
from pipelines.graphs.line import SECRET, SECRET_KEYS
from tests.k8s.rendered import KUBECTL

SHELL = 'python -c "$@" & child=$!; trap "kill $child" TERM; wait $child; wait $child'
# What the component train does with its inputs, and that a shell stands before it, as in Kubeflow.
PROGRAM = """
import sys
from dcvae.config import Config
from dcvae.launch import train
from dcvae.launch.pipeline_step import running_step
with running_step() as report:
    config = Config.model_validate_json(sys.argv[1])
    data, out, ranks = sys.argv[2:5]
    print("finished:", train(config, data, out, int(ranks), show=report.training))
"""
# Everything in a container but the shell that holds it, as when memory runs out.
KILL = """
import os, signal
for pid in os.listdir("/proc"):
    if pid.isdigit() and int(pid) not in (1, os.getpid()):
        os.kill(int(pid), signal.SIGKILL)
"""


def job_of(out: str, nproc: int) -> str:
    """The name of the TrainJob that a step makes for the run folder ``out``."""
    os.environ.setdefault("DCVAE_TRAINING_RUNTIME", "dcvae")
    ranks = cluster_ranks(out, nproc)
    assert ranks is not None
    return ranks.name


def step(name: str, image: str, config: Config, data: str, out: str, nproc: int) -> dict[str, Any]:
    """A pod that trains ``config`` by a TrainJob, which it owns."""
    own = {"KFP_POD_NAME": "metadata.name", "KFP_POD_UID": "metadata.uid"}
    fields = [{"name": n, "valueFrom": {"fieldRef": {"fieldPath": p}}} for n, p in own.items()]
    keys = [
        {
            "name": str(variable),
            "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key, "optional": True}},
        }
        for key, variable in SECRET_KEYS.items()
    ]
    arguments = [PROGRAM, config.model_dump_json(), data, out, str(nproc)]
    size = {"cpu": "250m", "memory": "1Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/component": "dcvae-step"}},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "pipeline-runner",
            "terminationGracePeriodSeconds": 30,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": ["sh", "-c", SHELL, "sh"],
                    "args": arguments,
                    "envFrom": [{"configMapRef": {"name": "dcvae-cluster"}}],
                    "env": [*fields, *keys],
                    "resources": {"requests": size, "limits": size},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
        },
    }


class Way:
    """A way to the API server that can be blocked: kubectl's proxy."""

    def __init__(self, port: int, kubeconfig: str | None = None) -> None:
        self.port = port
        self._through = {**os.environ, **({"KUBECONFIG": kubeconfig} if kubeconfig else {})}
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        command = [str(KUBECTL), "proxy", "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=self._through)

    def block(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def kubeconfig(self, file: Path, namespace: str) -> Path:
        """A configuration that goes this way."""
        context = {"cluster": "c", "user": "u", "namespace": namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "contexts": [{"name": "proxy", "context": context}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {}}],
        }
        file.write_text(json.dumps(content))
        return file


@contextmanager
def way(port: int, kubeconfig: str | None = None) -> Iterator[Way]:
    """One that is open, and blocked in the end."""
    made = Way(port, kubeconfig)
    made.open()
    try:
        yield made
    finally:
        made.block()
