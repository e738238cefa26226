"""Which source an HPA scales a Worker on: our metric where we may serve it, else KEDA, else CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

API_SERVICE = "v1beta1.external.metrics.k8s.io"
"""The APIService of external.metrics.k8s.io: one owner per cluster."""

MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER = "arklex-metrics"
"""Value of the label ``app.kubernetes.io/managed-by`` on an APIService of ours."""

KEDA_CRD = "scaledobjects.keda.sh"

METRIC = "arklex-worker-load"
SELECTOR = "arklex.ai/worker"
"""Name of the external metric, and the label that selects a Worker's series."""


class Source(StrEnum):
    """What scales the Workers of a cluster."""

    EXTERNAL = "external"
    KEDA = "keda"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Found:
    """The source in force, and why, for machines and people."""

    source: Source
    reason: str
    message: str


SERVED = Found(Source.EXTERNAL, "Load", f"scaled on the external metric {METRIC}")


def ours(api_service: Mapping[str, Any]) -> bool:
    """Whether an APIService was registered by ``arklex-metrics``."""
    return ((api_service.get("metadata") or {}).get("labels") or {}).get(MANAGED_BY) == OWNER


def find(api_service: Mapping[str, Any] | None, *, keda: bool) -> Found:
    """The source in force: ``api_service`` is the object called API_SERVICE or None, ``keda`` whether KEDA's CRD exists.

    Ours stays in force while its server is away: the HPA holds, which is better than scaling on something else for a minute.
    """
    if api_service is not None and ours(api_service):
        unavailable = _unavailable(api_service)
        if unavailable is None:
            return SERVED
        return Found(
            Source.EXTERNAL,
            "MetricsUnavailable",
            f"APIService {API_SERVICE} is not available ({unavailable}), so the number of pods is held: look at {OWNER}",
        )
    holder = _holder(api_service)
    if keda:
        return Found(Source.KEDA, "Keda", f"scaled by KEDA on the slots in use; CPU and memory do not count{holder}")
    return Found(Source.CPU, "CpuOnly", f"scaled on CPU alone; queued tasks do not count{holder}")


def _unavailable(api_service: Mapping[str, Any]) -> str | None:
    for condition in (api_service.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Available":
            return None if condition.get("status") == "True" else f"{condition.get('reason')}: {condition.get('message')}"
    return "not judged yet"


def _holder(api_service: Mapping[str, Any] | None) -> str:
    if api_service is None:
        return f": nothing serves {API_SERVICE}; {OWNER} registers it where the chart's cluster.enabled is true"
    service = (api_service.get("spec") or {}).get("service") or {}
    holder = f"{service.get('namespace')}/{service.get('name')}" if service else "the API server itself"
    return f": {API_SERVICE} belongs to {holder}, which is left alone"
