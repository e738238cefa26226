"""The HorizontalPodAutoscaler of a Worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arklex_api.worker import Scaling, Worker
from arklex_operator.load.band import Band, band
from arklex_operator.load.source import METRIC, SELECTOR, Source

CONTAINER = "worker"
"""The container whose CPU counts where nothing else can be scaled on."""


def lowest(scaling: Scaling, source: Source) -> int:
    """minReplicas as the HPA may have it: the API server takes 0 only with an External metric (reason ZeroUnsupported)."""
    return scaling.min_replicas if source is Source.EXTERNAL else max(1, scaling.min_replicas)


def hpa(worker: Worker, source: Source, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The HPA of ``worker`` in ``metadata`` (name, namespace, labels, owner), whose name is the Deployment's too.

    It scales on our metric (EXTERNAL), or on the CPU of the container ``worker`` (CPU). Raises ValueError for KEDA, whose
    ScaledObject makes an HPA of its own.
    """
    scaling = worker.spec.scaling
    if source is Source.KEDA:
        raise ValueError("KEDA makes the HPA itself: use keda()")
    external = source is Source.EXTERNAL
    edges = band(scaling) if external else band(scaling, 100)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": dict(metadata),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"]},
            "minReplicas": lowest(scaling, source),
            "maxReplicas": scaling.max_replicas,
            "metrics": [_external(worker.metadata.name, edges) if external else _cpu(edges)],
            "behavior": behavior(scaling, edges, shared_cooldown=external),
        },
    }


def behavior(scaling: Scaling, edges: Band, *, shared_cooldown: bool) -> dict[str, Any]:
    """Steps, cooldown and tolerances, as ``spec.behavior`` has them.

    Our metric makes both directions share the cooldown. Without it, a pool shrinks only after a cooldown in which nothing
    asked for more.
    """
    cooldown = scaling.cooldown_seconds
    policy = {"type": "Pods", "value": scaling.step, "periodSeconds": max(1, cooldown)}
    rules = {"selectPolicy": "Max", "policies": [policy]}
    return {
        "scaleUp": {**rules, "stabilizationWindowSeconds": 0, "tolerance": edges.up},
        "scaleDown": {
            **rules,
            "stabilizationWindowSeconds": 0 if shared_cooldown else cooldown,
            "tolerance": edges.down,
        },
    }


def milli(value: int) -> str:
    """Milli-units as the API server writes them, so that an unchanged HPA is not written again."""
    return str(value // 1000) if value % 1000 == 0 else f"{value}m"


def _external(name: str, edges: Band) -> dict[str, Any]:
    metric = {"name": METRIC, "selector": {"matchLabels": {SELECTOR: name}}}
    target = {"type": "Value", "value": milli(edges.target)}
    return {"type": "External", "external": {"metric": metric, "target": target}}


def _cpu(edges: Band) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": edges.target}
    return {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": CONTAINER, "target": target}}
