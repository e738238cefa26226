"""What tests of the Workers' controller share: an operator with the rights of the chart's, and a namespace to look into."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import redis
import yaml

from arklex_operator.cluster.rbac import CLUSTER, SERVED, own
from arklex_operator.manifests.kinds import (
    DEPLOYMENT,
    HPA,
    NETWORK_POLICY,
    PDB,
    POD,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    WORKER,
    Kind,
)
from tests.apiserver.api import Api, manifest
from tests.apiserver.operators import PATIENCE, Operator
from tests.controlplane import ControlPlane

T = TypeVar("T")
SYSTEM = "default"
ACCOUNT = "operator"
CHILDREN = (SERVICE_ACCOUNT, NETWORK_POLICY, SERVICE, PDB, DEPLOYMENT, HPA)
IMAGES = '{"custom": "arklex/worker:1", "llm": "arklex/worker-llm:1", "tool": "arklex/worker:1", "browser": "arklex/b:1"}'
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


def account(plane: ControlPlane) -> Path:
    """A kubeconfig with exactly the operator's rights."""
    rules = [*SERVED, *CLUSTER]
    subject = [{"kind": "ServiceAccount", "namespace": SYSTEM, "name": ACCOUNT}]
    group = "rbac.authorization.k8s.io"
    documents: list[dict[str, Any]] = []
    for kind, name, granted in (("ClusterRole", "operator", rules), ("Role", "operator-own", own("arklex-operator"))):
        metadata = {"name": name} | ({} if kind == "ClusterRole" else {"namespace": SYSTEM})
        documents.append({"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "rules": list(granted)})
        reference = {"apiGroup": group, "kind": kind, "name": name}
        binding = {"apiVersion": f"{group}/v1", "kind": f"{kind}Binding", "metadata": metadata}
        documents.append({**binding, "subjects": subject, "roleRef": reference})
    plane.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(documents))
    return plane.service_account(SYSTEM, ACCOUNT)


def until(look: Callable[[], T | None], what: str, process: Operator | None = None) -> T:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"still not: {what}\n{process.log() if process else ''}"
        time.sleep(0.05)
    return found


class Space:
    """A namespace while the operator runs."""

    def __init__(self, api: Api, namespace: str, process: Operator) -> None:
        self.api, self.namespace, self.process = api, namespace, process

    def apply(self, name: str = "w", **spec: Any) -> dict[str, Any]:
        """Apply a Worker as a person would; by default of type custom."""
        body = {"type": "custom", "config": {"handler": "m:handle"}, **spec}
        path = self.api.path(self.namespace, "Worker", name) + "?fieldManager=person&force=true"
        answer = self.api.call("PATCH", path, manifest("Worker", name, body), APPLY)
        assert answer.code in (200, 201), answer
        return answer.body

    def get(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """An object, None if there is none."""
        answer = self.api.call("GET", kind.path(self.namespace, name))
        return None if answer.code == 404 else answer.body

    def create(self, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object as the administrator."""
        whole = {"apiVersion": kind.api_version, "kind": kind.name, **body}
        answer = self.api.call("POST", kind.path(self.namespace), whole)
        assert answer.code == 201, answer
        return answer.body

    def patch(self, kind: Kind, name: str, body: Mapping[str, Any], part: str = "") -> dict[str, Any]:
        """Patch an object by JSON merge as the administrator."""
        answer = self.api.call("PATCH", kind.path(self.namespace, name, part), body, MERGE)
        assert answer.code == 200, answer
        return answer.body

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object."""
        assert self.api.call("DELETE", kind.path(self.namespace, name)).code == 200

    def condition(self, type_: str, name: str = "w") -> dict[str, Any]:
        """A Worker's condition, if it speaks of the Worker as it is."""
        found = self.get(WORKER, name) or {}
        conditions = (found.get("status") or {}).get("conditions") or ()
        now = [each for each in conditions if each.get("observedGeneration") == found["metadata"]["generation"]]
        return next((each for each in now if each["type"] == type_), {})

    def until_condition(self, type_: str, status: str, reason: str, name: str = "w") -> str:
        """Wait for a condition; its message."""

        def look() -> dict[str, Any] | None:
            found = self.condition(type_, name)
            return found if (found.get("status"), found.get("reason")) == (status, reason) else None

        return str(until(look, f"{name} {type_}={status} {reason}, is {self.condition(type_, name)}", self.process)["message"])

    def until_children(self, name: str = "w") -> dict[Kind, dict[str, Any]]:
        """Wait for all children and the account; the children."""

        def look() -> dict[Kind, dict[str, Any]] | None:
            found = {kind: self.get(kind, f"{name}-worker") for kind in CHILDREN}
            there = {kind: value for kind, value in found.items() if value is not None}
            return there if len(there) == len(CHILDREN) and self.get(SECRET, "arklex-connection") else None

        return until(look, f"the children of {name}", self.process)

    def pod(self, name: str, status: Mapping[str, Any], worker: str = "w") -> None:
        """Put a pod of a Worker there, with a status as kubelet would write it."""
        labels = self.until_children(worker)[DEPLOYMENT]["spec"]["template"]["metadata"]["labels"]
        spec = {
            "nodeName": "node",
            "serviceAccountName": f"{worker}-worker",
            "containers": [{"name": "worker", "image": "arklex/worker:1"}],
        }
        self.create(POD, {"metadata": {"name": name, "labels": labels}, "spec": spec})
        self.patch(POD, name, {"status": dict(status)}, "status")

    def reasons(self, name: str = "w") -> set[str]:
        """The reasons of events about a Worker."""
        found = self.api.call("GET", f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events").body["items"]
        return {each["reason"] for each in found if each["regarding"]["name"] == name}


def users(client: redis.Redis) -> set[str]:
    """The names of Redis' users."""
    return {str(line).split()[1] for line in client.acl_list()}
