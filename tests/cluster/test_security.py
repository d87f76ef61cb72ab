"""The namespace of the tests enforces Pod Security "restricted", and everything of ours fits."""

import json

import pytest

from dcvae.presets import configure
from tests.cluster.conftest import Place, kubectl
from tests.cluster.steps import step


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_a_namespace_that_enforces_restricted_takes_a_step_and_no_root(place: Place) -> None:
    """The server is asked without keeping anything; trainings of the other tests prove ranks.

    1 minute.
    """
    pod = step("step", place.image, configure("smoke"), "s3://a/b", "s3://a/c", 2)
    ask = ("--namespace", place.namespace, "apply", "--dry-run=server", "--filename", "-")
    kubectl(*ask, given=json.dumps(pod))
    pod["spec"]["securityContext"] = {"runAsUser": 0}
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        kubectl(*ask, given=json.dumps(pod))
