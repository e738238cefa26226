"""The JSON documents of external.metrics.k8s.io/v1beta1."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from arklex_operator.load.publish import Told
from arklex_operator.load.source import METRIC, SELECTOR

GROUP = "external.metrics.k8s.io"
VERSION = "v1beta1"
GROUP_VERSION = f"{GROUP}/{VERSION}"

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    500: "InternalError",
    503: "ServiceUnavailable",
}


def group() -> dict[str, Any]:
    """The group, with the one version it has."""
    version = {"groupVersion": GROUP_VERSION, "version": VERSION}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version}


def resources() -> dict[str, Any]:
    """The metrics there are: one."""
    metric = {"name": METRIC, "singularName": "", "namespaced": True, "kind": "ExternalMetricValueList", "verbs": ["get"]}
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": [metric]}


def values(told: Iterable[tuple[str, Told]], at: datetime | None = None) -> dict[str, Any]:
    """What the HPAs of these Workers are told."""
    timestamp = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    items = [
        {"metricName": METRIC, "metricLabels": {SELECTOR: worker}, "timestamp": timestamp, "value": each.text}
        for worker, each in told
    ]
    return {"kind": "ExternalMetricValueList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": items}


def status(code: int, message: str) -> dict[str, Any]:
    """A failure, as the API server and kubectl read it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": REASONS[code],
        "code": code,
    }


def selected(selector: str) -> str | None:
    """The Worker that a label selector names, None when it selects all. Raises ValueError for any other selector."""
    if not selector.strip():
        return None
    label, found, worker = selector.replace("==", "=").partition("=")
    if label.strip() != SELECTOR or not found or not worker.strip() or "," in worker:
        raise ValueError(f"labelSelector {selector!r} is not understood: write {SELECTOR}=<worker>")
    return worker.strip()
