"""The kinds of objects that the operator reads and writes, and where the API server has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind: ``api_version`` as in manifests, ``plural`` as in paths."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group, empty for the core's."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The path of all objects (of ``namespace`` if given), or of one."""
        base = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        one = f"/{name}" if name else ""
        return f"{base}{within}/{self.plural}{one}" + (f"/{subresource}" if subresource else "")


WORKER = Kind("arklex.ai/v1alpha1", "Worker", "workers")
TASK_GRAPH = Kind("arklex.ai/v1alpha1", "TaskGraph", "taskgraphs")
TASK_GRAPH_RUN = Kind("arklex.ai/v1alpha1", "TaskGraphRun", "taskgraphruns")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
HPA = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
PDB = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
SECRET = Kind("v1", "Secret", "secrets")
POD = Kind("v1", "Pod", "pods")
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
EVENT = Kind("events.k8s.io/v1", "Event", "events")
API_SERVICE = Kind("apiregistration.k8s.io/v1", "APIService", "apiservices", namespaced=False)
SCALED_OBJECT = Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")
TRIGGER_AUTHENTICATION = Kind("keda.sh/v1alpha1", "TriggerAuthentication", "triggerauthentications")

KINDS: Mapping[tuple[str, str], Kind] = {
    (kind.api_version, kind.name): kind
    for kind in (
        *(WORKER, TASK_GRAPH, TASK_GRAPH_RUN, DEPLOYMENT, HPA, PDB, NETWORK_POLICY, SERVICE, SERVICE_ACCOUNT, SECRET, POD),
        *(NAMESPACE, LEASE, EVENT, API_SERVICE, SCALED_OBJECT, TRIGGER_AUTHENTICATION),
    )
}


def kind_of(value: Mapping[str, Any]) -> Kind:
    """The kind of an object. Raises KeyError for one that the operator never handles."""
    return KINDS[value["apiVersion"], value["kind"]]
