"""What the servers of custom resources refuse, as data: each file names its source."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

FOLDER = Path(__file__).parent
KINDS = {
    kind: yaml.safe_load((FOLDER / f"{kind.lower()}.yaml").read_text())
    for kind in ("TrainJob", "TrainingRuntime", "LocalQueue")
}
KUBERNETES = "1.31"
"""Lowest version of Kubernetes that we say we run on."""


def faults(thing: dict[str, Any], before: dict[str, Any] | None = None) -> list[str]:
    """Why an API server would refuse to keep ``thing``, which was ``before``; in its own words.

    More strictly than a real one: it would drop fields that it does not know without a word.
    """
    known = KINDS[thing["kind"]]
    check = jsonschema.Draft202012Validator(known["schema"])
    found = [
        f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}"
        for error in check.iter_errors(thing)
    ]
    for name in known.get("immutable", []) if before else []:
        assert before is not None
        if thing["spec"].get(name) != before["spec"].get(name):
            found.append(f"spec.{name}: Invalid value: field is immutable")
    if thing["kind"] == "TrainingRuntime" and not found:
        found += _faults_of_template(thing["spec"]["template"]["spec"])
    return found


def _faults_of_template(spec: dict[str, Any]) -> list[str]:
    """What JobSet's webhook and Kubernetes' own API say of the jobs that it would make."""
    found = []
    jobs = {job["name"]: job["template"] for job in spec["replicatedJobs"]}
    rules = spec.get("failurePolicy", {}).get("rules", [])
    names = [rule["name"] for rule in rules]
    found += [f"two rules are called {name}" for name in set(names) if names.count(name) > 1]
    for rule in rules:
        for name in set(rule.get("targetReplicatedJobs", [])) - set(jobs):
            found.append(f"rule {rule['name']}: there is no replicated job {name}")
        if rule.get("onJobFailureMessagePatterns"):
            for pattern in rule["onJobFailureMessagePatterns"]:
                re.compile(pattern)
    for name, template in jobs.items():
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
        try:
            kubernetes_validate.validate({**job, **template}, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{name}: {error.message}")
        else:
            found += _faults_of_policy(template["spec"])
    return found


def _faults_of_policy(spec: dict[str, Any]) -> list[str]:
    """What Kubernetes' validation says of a job's podFailurePolicy, beyond its schema."""
    found = []
    pod = spec["template"]["spec"]
    rules = spec.get("podFailurePolicy", {}).get("rules", [])
    if rules and pod["restartPolicy"] != "Never":
        found.append("only pods that are never restarted in place can have a podFailurePolicy")
    for rule in rules:
        if ("onExitCodes" in rule) == ("onPodConditions" in rule):
            found.append("a rule is about exit codes or about conditions")
        codes = rule.get("onExitCodes", {})
        if codes.get("operator") == "In" and 0 in codes["values"]:
            found.append("exit code 0 is no failure")
        container = codes.get("containerName")
        if container and container not in {each["name"] for each in pod["containers"]}:
            found.append(f"there is no container {container}")
        for condition in rule.get("onPodConditions", []):
            if "status" not in condition:
                found.append("status is required of a condition")
    return found
