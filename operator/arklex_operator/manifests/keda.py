"""What KEDA scales a Worker by, where it holds external.metrics.k8s.io: its ScaledObject makes the HPA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from arklex_api.worker import Worker
from arklex_operator.load.band import band
from arklex_operator.load.source import Source
from arklex_operator.manifests.hpa import behavior, lowest

CONNECTION = "arklex-connection"
"""The Secret with a namespace's Redis account (decisions/0006)."""


def keda(worker: Worker, metadata: Mapping[str, Any], redis_url: str) -> list[dict[str, Any]]:
    """TriggerAuthentication and ScaledObject of ``worker``, both called ``metadata["name"]`` like its Deployment.

    KEDA reads the stream's length (queued + in flight) with the account of the namespace. As an average per pod against
    target x concurrency that is the share of slots in use. ``redis_url`` is what pods are told (``redis://host:6379/0``).
    """
    scaling, concurrency, edges = worker.spec.scaling, worker.spec.concurrency, band(worker.spec.scaling)
    url = urlsplit(redis_url)
    authentication = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": dict(metadata),
        "spec": {"secretTargetRef": [{"parameter": key, "name": CONNECTION, "key": key} for key in ("username", "password")]},
    }
    stream = {
        "type": "redis-streams",
        "name": "busy",
        "metadata": {
            "address": f"{url.hostname}:{url.port or 6379}",
            "databaseIndex": url.path.strip("/") or "0",
            "stream": f"arklex:{{{metadata['namespace']}}}:jobs:{worker.metadata.name}",
            "streamLength": str(concurrency),
            "enableTLS": "true" if url.scheme == "rediss" else "false",
        },
        "authenticationRef": {"name": metadata["name"]},
    }
    scaled = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": dict(metadata),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"]},
            "minReplicaCount": lowest(scaling, Source.KEDA),
            "maxReplicaCount": scaling.max_replicas,
            "advanced": {
                "scalingModifiers": {
                    "formula": "busy",
                    "target": str(edges.target * concurrency / 1000),
                    "metricType": "AverageValue",
                },
                "horizontalPodAutoscalerConfig": {"behavior": behavior(scaling, edges, shared_cooldown=False)},
            },
            "triggers": [stream],
        },
    }
    return [authentication, scaled]
