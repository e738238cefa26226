"""What a Worker owns: Deployment, ServiceAccount, Service, PodDisruptionBudget, NetworkPolicy, HPA or KEDA's objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arklex_api.worker import Worker
from arklex_operator.load.source import Source
from arklex_operator.manifests.hpa import hpa
from arklex_operator.manifests.keda import keda
from arklex_operator.manifests.kinds import DEPLOYMENT, PDB, SERVICE, SERVICE_ACCOUNT, Object
from arklex_operator.manifests.names import DIGEST, SPEC_DIGEST, child_metadata, digest, selector
from arklex_operator.manifests.network import network_policy
from arklex_operator.manifests.pod import PORT, PodOptions, pod_template


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """What decides about children besides the Worker itself. ``redis_url`` is what pods are told."""

    pod: PodOptions
    source: Source
    redis_url: str
    operator_namespace: str
    api_servers: Sequence[str] = ()


def children(worker: Worker, options: ChildOptions) -> list[Object]:
    """All children, each with the digest of what it says, in the order in which they are applied."""
    if options.source is Source.KEDA:
        scaling = keda(worker, child_metadata(worker), options.redis_url)
    else:
        scaling = [hpa(worker, options.source, child_metadata(worker))]
    made = [
        service_account(worker),
        network_policy(worker, options.redis_url, options.operator_namespace, options.api_servers),
        service(worker),
        budget(worker),
        deployment(worker, options.pod),
        *scaling,
    ]
    return [_digested(each) for each in made]


def deployment(worker: Worker, options: PodOptions) -> Object:
    """The Deployment, without ``replicas``: they are the HPA's."""
    spec = worker.spec.model_dump(mode="json", by_alias=True, exclude={"scaling", "circuit_breaker", "egress"})
    own = {"spec": spec, "secrets": [list(pair) for pair in sorted(options.secrets)]}
    return {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.name,
        "metadata": {**child_metadata(worker), "annotations": {SPEC_DIGEST: digest(own)}},
        "spec": {
            "selector": {"matchLabels": selector(worker.metadata.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": 600,
            "template": pod_template(worker, options),
        },
    }


def service_account(worker: Worker) -> Object:
    """The account that pods run as: without a token, without rights."""
    return {
        "apiVersion": SERVICE_ACCOUNT.api_version,
        "kind": SERVICE_ACCOUNT.name,
        "metadata": child_metadata(worker),
        "automountServiceAccountToken": False,
    }


def service(worker: Worker) -> Object:
    """The headless Service by which the pods' metrics are found."""
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.name,
        "metadata": child_metadata(worker),
        "spec": {
            "clusterIP": "None",
            "selector": selector(worker.metadata.name),
            "ports": [{"name": "metrics", "port": PORT, "targetPort": PORT, "protocol": "TCP"}],
        },
    }


def budget(worker: Worker) -> Object:
    """One pod is evicted at a time; one that is not ready may always be."""
    return {
        "apiVersion": PDB.api_version,
        "kind": PDB.name,
        "metadata": child_metadata(worker),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(worker.metadata.name)},
        },
    }


def _digested(value: Object) -> Object:
    metadata = value["metadata"]
    annotations = {**(metadata.get("annotations") or {}), DIGEST: digest(value)}
    return {**value, "metadata": {**metadata, "annotations": annotations}}
