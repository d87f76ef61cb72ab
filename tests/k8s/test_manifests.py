"""Every overlay and component renders, fits Kubernetes' schemas, and keeps our rules."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kfp import client

from pipelines.graphs.line import COMPONENT
from tests.crds import KINDS, KUBERNETES, faults
from tests.k8s.rendered import COMPONENTS, K8S, NEEDS, OVERLAYS, compose, of, pods, render

PROMETHEUS = "monitoring.coreos.com"
STEP = ("app.kubernetes.io/component", COMPONENT)


def test_kubernetes_knows_it(objects: list[dict[str, Any]]) -> None:
    for each in objects:
        if each["kind"] in KINDS:
            assert not faults(each)
        elif each["apiVersion"].partition("/")[0] != PROMETHEUS:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_pods_are_restricted_and_sized(objects: list[dict[str, Any]]) -> None:
    found = list(pods(objects))
    assert found
    for _, spec in found:
        own = spec["securityContext"]
        assert own["runAsNonRoot"] is True
        assert own.get("runAsUser", 1) > 0
        assert own["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert spec["automountServiceAccountToken"] is False
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for volume in volumes.values():
            assert "projected" in volume or volume["emptyDir"]["sizeLimit"]
        for container in spec["containers"]:
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["capabilities"] == {"drop": ["ALL"]}
            sizes = container["resources"]
            for kind in ("cpu", "memory"):
                assert sizes["requests"][kind] == sizes["limits"][kind]
            if not container["image"].startswith("ghcr.io/dcvae/"):
                continue
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert "/tmp" in mounts
            if container["name"] == "node":  # ranks
                assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"


def test_images_are_pinned(objects: list[dict[str, Any]]) -> None:
    for _, spec in pods(objects):
        for container in spec["containers"]:
            tag = container["image"].rpartition("/")[2].partition(":")[2]
            assert tag, container["image"]
            assert "latest" not in tag


def test_restarts_are_of_whole_sets(objects: list[dict[str, Any]]) -> None:
    for runtime in of(objects, "TrainingRuntime"):
        assert runtime["metadata"]["labels"]["trainer.kubeflow.org/framework"] == "torch"
        template = runtime["spec"]["template"]["spec"]
        assert template["failurePolicy"]["restartStrategy"] == "BlockingRecreate"
        assert "ttlSecondsAfterFinished" not in template  # a failed set would be run again
        for job in template["replicatedJobs"]:
            assert job["template"]["spec"]["backoffLimit"] == 0
            assert job["template"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


# What Kubernetes' Job controller says of a job that a rule of its podFailurePolicy has failed.
EXIT_CODE = "Container node for pod team/a-node-0-0 failed with exit code {} matching FailJob rule"
DISRUPTED = "Pod team/a-node-0-0 has condition DisruptionTarget matching FailJob rule at index 1"


@pytest.mark.parametrize(
    ("reason", "message", "action"),
    [
        ("PodFailurePolicy", EXIT_CODE.format(2) + " at index 0", "FailJobSet"),
        ("PodFailurePolicy", DISRUPTED, "RestartJobSetAndIgnoreMaxRestarts"),
        ("BackoffLimitExceeded", "Job has reached the specified backoff limit", "RestartJobSet"),
    ],
)
def test_what_failed_decides_whether_a_set_is_made_anew(
    objects: list[dict[str, Any]], reason: str, message: str, action: str
) -> None:
    for runtime in of(objects, "TrainingRuntime"):
        policy = runtime["spec"]["template"]["spec"]["failurePolicy"]
        assert policy["maxRestarts"] == 5, "also on nodes that are taken away"
        found = [
            rule["action"]
            for rule in policy["rules"]
            if reason in rule["onJobFailureReasons"]
            and any(re.search(each, message) for each in rule["onJobFailureMessagePatterns"])
        ]
        assert [*found, "RestartJobSet"][0] == action


def test_only_bad_input_and_lost_nodes_fail_a_job_by_rule(objects: list[dict[str, Any]]) -> None:
    for runtime in of(objects, "TrainingRuntime"):
        for job in runtime["spec"]["template"]["spec"]["replicatedJobs"]:
            first, second = job["template"]["spec"]["podFailurePolicy"]["rules"]
            assert first["onExitCodes"] == {
                "containerName": "node",
                "operator": "In",
                "values": [2],
            }
            assert second["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


def test_no_mesh_stands_between(objects: list[dict[str, Any]]) -> None:
    """Its proxy would break the ranks' rendezvous, and keep a Job from ever being complete."""
    for metadata, _ in pods(objects):
        assert metadata["labels"]["sidecar.istio.io/inject"] == "false"


def test_names_are_found_wherever_they_are_served(objects: list[dict[str, Any]]) -> None:
    """On the node itself with NodeLocal DNSCache, at another port on OpenShift."""
    asking = {"dcvae-trainer", COMPONENT, "dcvae-pipelines"}
    found: dict[str, set[tuple[int, str]]] = {}
    for policy in of(objects, "NetworkPolicy"):
        who = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for rule in policy["spec"].get("egress", []):
            if "to" not in rule:
                ports = {(port["port"], port["protocol"]) for port in rule["ports"]}
                found.setdefault(who, set()).update(ports)
    wanted = {(port, protocol) for port in (53, 5353) for protocol in ("UDP", "TCP")}
    assert all(wanted <= ports for who, ports in found.items() if who in asking)


def test_users_are_numbered_only_where_that_is_asked_for(tmp_path: Path) -> None:
    for name, numbered in (("pipelines", False), ("fixed-ids", True), ("openshift", False)):
        folder = tmp_path / name
        folder.mkdir()
        for metadata, spec in pods(render(compose(folder, name))):
            assert ("runAsUser" in spec["securityContext"]) == numbered, metadata
    folder = tmp_path / "monitoring"
    folder.mkdir()
    (gateway,) = of(render(compose(folder, "monitoring")), "Deployment")
    assert gateway["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == 65534
    dockerfile = (K8S.parent / "Dockerfile").read_text()
    assert "USER 10001:10001" in dockerfile, "a number, so that it is known not to be root"


def test_rights_are_named_one_by_one(objects: list[dict[str, Any]]) -> None:
    assert not list(of(objects, "ClusterRole"))
    for role in of(objects, "Role"):
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in words
            assert "secrets" not in rule["resources"]


def test_no_secret_is_written_down(objects: list[dict[str, Any]]) -> None:
    assert not list(of(objects, "Secret"))
    for config in of(objects, "ConfigMap"):
        assert not [key for key in config["data"] if "SECRET" in key or "KEY" in key]


def test_every_pod_is_behind_a_policy_that_denies(objects: list[dict[str, Any]]) -> None:
    denied = [
        policy["spec"]["podSelector"]["matchLabels"]
        for policy in of(objects, "NetworkPolicy")
        if not {"ingress", "egress"} & set(policy["spec"])
        and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    ]
    for metadata, _ in pods(objects):
        assert any(labels.items() <= metadata["labels"].items() for labels in denied)


def test_steps_are_behind_one_too_and_reach_what_they_need(objects: list[dict[str, Any]]) -> None:
    policies = [
        policy["spec"]
        for policy in of(objects, "NetworkPolicy")
        if policy["spec"]["podSelector"]["matchLabels"] == {STEP[0]: STEP[1]}
    ]
    assert any(not {"ingress", "egress"} & set(policy) for policy in policies), "all is denied"
    assert not any("ingress" in policy for policy in policies), "nothing comes in"
    rules = [rule for policy in policies for rule in policy.get("egress", [])]
    open_ports = {port["port"] for rule in rules if "to" not in rule for port in rule["ports"]}
    assert open_ports == {53, 5353, 443, 6443, 8443, 80}, "names, API server, buckets, data sets"
    services = {
        tuple(peer["podSelector"]["matchLabels"].values()): {port["port"] for port in rule["ports"]}
        for rule in rules
        for peer in rule.get("to", [])
        if "podSelector" in peer
    }
    wanted = {("seaweedfs",): {8333}, ("ml-pipeline",): {8887, 8888}}
    assert wanted.items() <= services.items()
    assert services[("metadata-grpc-server",)] == {8080}


def test_a_profile_of_many_has_its_own_accounts(tmp_path: Path) -> None:
    objects = render(compose(tmp_path, "multi-user"))
    subjects = {
        binding["metadata"]["name"]: binding["subjects"][0]
        for binding in of(objects, "RoleBinding")
    }
    assert subjects["dcvae-steps"]["name"] == "default-editor"
    assert subjects["dcvae-pipelines"]["namespace"] == "team"
    (job,) = of(objects, "Job")
    spec = job["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "dcvae-pipelines"
    (container,) = spec["containers"]
    assert container["args"][1].startswith("http://ml-pipeline.kubeflow:")
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "identity")
    assert f"{mount['mountPath']}/token" == client.KF_PIPELINES_SA_TOKEN_PATH
    (volume,) = (each for each in spec["volumes"] if each["name"] == "identity")
    (source,) = volume["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"
    assert source["serviceAccountToken"]["path"] == "token"


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_say_where(name: str) -> None:
    objects = render(K8S / "overlays" / name)
    for binding in of(objects, "RoleBinding"):
        for subject in binding["subjects"]:
            assert subject["namespace"] == binding["metadata"]["namespace"]


def test_jobs_end_and_are_removed(objects: list[dict[str, Any]]) -> None:
    for job in of(objects, "Job"):
        assert job["spec"]["activeDeadlineSeconds"]
        assert job["spec"]["ttlSecondsAfterFinished"]


def test_what_serves_is_probed(objects: list[dict[str, Any]]) -> None:
    for deployment in of(objects, "Deployment"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            ports = {port["name"] for port in container["ports"]}
            for probe in ("readinessProbe", "livenessProbe"):
                assert container[probe]["httpGet"]["port"] in ports


def test_all_components_fit_together(tmp_path: Path) -> None:
    folder = compose(tmp_path, "monitoring")
    file = folder / "kustomization.yaml"
    content = yaml.safe_load(file.read_text())
    ordered = sorted(COMPONENTS, key=lambda name: len(NEEDS.get(name, [])))
    content["components"] = [f"../k8s/components/{each}" for each in ordered]
    file.write_text(yaml.safe_dump(content))
    objects = render(folder)
    (runtime,) = of(objects, "TrainingRuntime")
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    gpus = int(container["resources"]["limits"]["nvidia.com/gpu"])
    (config,) = (
        each for each in of(objects, "ConfigMap") if "DCVAE_RANKS_PER_NODE" in each["data"]
    )
    assert int(config["data"]["DCVAE_RANKS_PER_NODE"]) == gpus
    first = int(config["data"]["DCVAE_METRICS_PORT"])
    ports = [port["containerPort"] for port in container["ports"]]
    assert ports == list(range(first, first + gpus)), "one for each rank of a node"
    (opening,) = (
        each["spec"]["ingress"][0]["ports"][0]
        for each in of(objects, "NetworkPolicy")
        if each["metadata"]["name"] == "dcvae-trainer-metrics"
    )
    assert opening["port"] == first
    assert opening["endPort"] >= ports[-1]
