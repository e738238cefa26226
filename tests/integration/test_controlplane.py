"""The API server that other tests rely on: its CRDs, its users, its audit log, and that it comes back as it was."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from tests.controlplane import FAST_HPA, ControlPlane, control_plane

pytestmark = pytest.mark.apiserver

WORKER = """
apiVersion: arklex.ai/v1alpha1
kind: Worker
metadata: {name: echo, namespace: default}
spec: {type: custom, config: {handler: "m:handle"}}
"""


def test_the_crds_are_served(control_plane: ControlPlane) -> None:
    names = control_plane.kubectl("api-resources", "--api-group=arklex.ai", "--output=name").split()
    assert sorted(names) == ["taskgraphruns.arklex.ai", "taskgraphs.arklex.ai", "workers.arklex.ai"]


def test_the_version_is_that_of_the_build(control_plane: ControlPlane) -> None:
    versions = json.loads(control_plane.kubectl("version", "--output=json"))
    assert versions["clientVersion"]["gitVersion"] == versions["serverVersion"]["gitVersion"] == "v1.37.2"


def test_users_have_only_the_rights_that_are_bound(control_plane: ControlPlane) -> None:
    account = control_plane.service_account("default", "probe")
    ask = ("auth", "can-i", "create", "configmaps", "--namespace=default")
    with pytest.raises(AssertionError):
        control_plane.kubectl(*ask, kubeconfig=account)
    control_plane.kubectl("create", "role", "probe", "--verb=create", "--resource=configmaps", "--namespace=default")
    control_plane.kubectl(
        "create", "rolebinding", "probe", "--role=probe", "--serviceaccount=default:probe", "--namespace=default"
    )
    assert control_plane.kubectl(*ask, kubeconfig=account).strip() == "yes"


def test_the_audit_log_names_who_wrote_what(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "configmap", "audited", "--namespace=default")
    records = [json.loads(line) for line in control_plane.audit_log.read_text().splitlines()]
    writes = [
        record for record in records if record.get("objectRef", {}).get("name") == "audited" and record["verb"] == "create"
    ]
    assert [record["user"]["username"] for record in writes] == ["admin"]


@pytest.fixture
def port_of_another() -> Iterator[None]:
    """The port that kube-controller-manager listens on unless told otherwise is taken, as by one of another test."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(socket.create_server(("", 10257)))
        yield


@pytest.mark.usefixtures("port_of_another")
def test_a_killed_api_server_comes_back_with_its_objects_and_controllers_go_on() -> None:
    with control_plane(controllers=FAST_HPA) as plane:
        plane.kubectl("apply", "--filename=-", stdin=WORKER)
        plane.stop_apiserver()
        assert not plane.ready()
        plane.start_apiserver()
        assert plane.kubectl("get", "worker", "echo", "--output=jsonpath={.spec.type}") == "custom"
        plane.kubectl("create", "namespace", "made-later")
        plane.kubectl("wait", "--for=create", "serviceaccount/default", "--namespace=made-later", "--timeout=60s")
