"""What the chart renders, before a real API server: every field known, every pod restricted, every policy compiled."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.controlplane import ControlPlane
from tests.helm.charts import case, cases, pod_specs

pytestmark = pytest.mark.apiserver


@pytest.mark.parametrize("name", cases())
def test_the_api_server_takes_every_object(plane: ControlPlane, name: str) -> None:
    objects = case(name)
    for found in objects:
        if found["kind"] == "Pod":
            del found["spec"]["serviceAccountName"]  # which a dry run makes none of
            found["spec"].pop("priorityClassName", None)
    told = plane.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "--force-conflicts",
        "--filename=-",
        stdin=yaml.safe_dump_all(objects),
    )
    assert len(told.splitlines()) == len(objects)


@pytest.mark.parametrize("name", cases())
def test_pod_security_takes_every_pod(plane: ControlPlane, name: str) -> None:
    """Of a Deployment it only warns: so each pod is tried as such."""
    pods = []
    for number, spec in enumerate(pod_specs(case(name)).values()):
        spec.pop("serviceAccountName", None)
        spec.pop("priorityClassName", None)
        metadata = {"name": f"try-{number}", "namespace": "arklex-system"}
        pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    told = plane.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump_all(pods))
    assert len(told.splitlines()) == len(pods) >= 5


def test_pod_security_refuses_another(plane: ControlPlane) -> None:
    pod = {"containers": [{"name": "c", "image": "i:1"}], "hostNetwork": True}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad", "namespace": "arklex-system"}, "spec": pod}
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        plane.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(body))


def test_no_expression_of_a_policy_has_a_warning(plane: ControlPlane) -> None:
    """The type checker's findings of those policies it can check."""
    told = json.loads(plane.kubectl("get", "validatingadmissionpolicies", "--output=json"))
    assert len(told["items"]) == 4
    for policy in told["items"]:
        assert not policy.get("status", {}).get("typeChecking", {}).get("expressionWarnings")
