"""What the operator may do, exactly; the chart renders the same rules, and a test runs the operator with no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arklex_operator.load.source import API_SERVICE
from arklex_operator.manifests.names import CONNECTION

Rule = dict[str, Any]

_READ = ["get", "list", "watch"]
_OWN = ["create", *_READ, "patch"]


def _rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] = ()) -> Rule:
    rule: Rule = {"apiGroups": list(groups), "resources": list(resources), "verbs": sorted(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


SERVED: Sequence[Rule] = (
    _rule(["arklex.ai"], ["workers"], _READ),
    _rule(["arklex.ai"], ["taskgraphs"], [*_READ, "patch"]),
    _rule(["arklex.ai"], ["taskgraphs/status", "workers/status"], ["patch"]),
    _rule(["arklex.ai"], ["taskgraphruns"], [*_OWN, "delete"]),
    _rule(["apps"], ["deployments"], _OWN),
    _rule(["autoscaling"], ["horizontalpodautoscalers"], [*_OWN, "delete"]),
    _rule(["policy"], ["poddisruptionbudgets"], _OWN),
    _rule(["networking.k8s.io"], ["networkpolicies"], _OWN),
    _rule([""], ["serviceaccounts", "services"], _OWN),
    _rule([""], ["secrets"], ["create"]),
    _rule([""], ["secrets"], ["delete", "get", "patch"], [CONNECTION]),
    _rule([""], ["pods"], [*_READ, "patch"]),
    _rule([""], ["events"], ["list"]),
    _rule(["events.k8s.io"], ["events"], ["create", "patch"]),
    _rule(["metrics.k8s.io"], ["pods"], ["list"]),
    _rule(["keda.sh"], ["scaledobjects", "triggerauthentications"], ["create", "delete", "get", "patch"]),
)
"""Wherever Workers and TaskGraphs are served: the whole cluster, or each namespace. ``patch`` of pods is for one annotation."""

CLUSTER: Sequence[Rule] = (_rule(["apiregistration.k8s.io"], ["apiservices"], ["get"], [API_SERVICE]),)
"""For the whole cluster, where the installation owns what a cluster has once; without it Workers scale by KEDA or CPU."""


def own(lease: str) -> Sequence[Rule]:
    """In the operator's own namespace: the Lease called ``lease``."""
    return (
        _rule(["coordination.k8s.io"], ["leases"], ["create"]),
        _rule(["coordination.k8s.io"], ["leases"], ["get", "update"], [lease]),
    )
