"""What a kubelet would say of pods, on a control plane without nodes; and a record of what scaled Deployments when."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from kubernetes import client, config, watch
from urllib3.exceptions import HTTPError

from tests.controlplane import ControlPlane

SELECTOR = "arklex.ai/worker"
PATIENCE = 120.0


@dataclass(frozen=True)
class Change:
    """spec.replicas from one number to another, at the time in the API server's audit log."""

    before: int
    after: int
    at: datetime


class Nodeless:
    """Declares pods of Workers ready, as many per namespace as a test lets it, and records changes of spec.replicas."""

    def __init__(self, plane: ControlPlane) -> None:
        self.most_ready: dict[str, int] = {}
        """By namespace: how many pods get ready; all where nothing is said."""
        self._changes: dict[str, list[tuple[int, int]]] = {}
        self._plane = plane
        self._replicas: dict[str, int] = {}
        loading: Any = config
        self._client: Any = loading.new_client_from_config(str(plane.kubeconfig))
        self._core: Any = client.CoreV1Api(self._client)
        self._apps: Any = client.AppsV1Api(self._client)
        self._autoscaling: Any = client.AutoscalingV2Api(self._client)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._kubelet, self._record)]

    def changes(self, namespace: str) -> list[Change]:
        """What the HPA controller did to the Deployment of this namespace so far."""
        changes = list(self._changes.get(namespace, ()))
        return [Change(before, after, at) for (before, after), at in zip(changes, self._scalings(namespace), strict=False)]

    def _scalings(self, namespace: str) -> list[datetime]:
        lines = self._plane.audit_log.read_text().splitlines()
        records = [json.loads(line) for line in lines if '"subresource":"scale"' in line and line.endswith("}")]
        return [
            datetime.fromisoformat(each["stageTimestamp"])
            for each in records
            if (each["verb"], each["objectRef"]["namespace"], each["responseStatus"]["code"]) == ("update", namespace, 200)
        ]

    def replicas(self, namespace: str) -> int:
        """spec.replicas now."""
        return self._replicas[namespace]

    def hpa(self, namespace: str) -> dict[str, Any]:
        """The HPA of this namespace."""
        listed = self._autoscaling.list_namespaced_horizontal_pod_autoscaler(namespace, _preload_content=True)
        (found,) = self._client.sanitize_for_serialization(listed)["items"]
        return dict(found)

    def current_value(self, namespace: str) -> str | None:
        """The value that the HPA controller saw last."""
        metrics = self.hpa(namespace).get("status", {}).get("currentMetrics") or [{}]
        value = ((metrics[0].get("external") or {}).get("current") or {}).get("value")
        return None if value is None else str(value)

    def until(self, holds: Callable[[], bool], what: Callable[[], str]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, what()
            time.sleep(0.1)

    def start(self) -> None:
        """Start declaring and recording."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End declaring; the record ends with the API server."""
        self._ended.set()
        self._threads[0].join(30)

    def _kubelet(self) -> None:
        while not self._ended.wait(0.2):
            with contextlib.suppress(client.ApiException):
                self._declare(self._core.list_pod_for_all_namespaces(label_selector=SELECTOR).items)

    def _declare(self, pods: list[Any]) -> None:
        ready: dict[str, int] = {}
        for pod in sorted(pods, key=lambda each: each.status.phase != "Running"):
            namespace = pod.metadata.namespace
            ready[namespace] = ready.get(namespace, 0) + 1
            if pod.status.phase == "Running" or ready[namespace] > self.most_ready.get(namespace, 1000):
                continue
            at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            condition = {"type": "Ready", "status": "True", "lastTransitionTime": at}
            status = {"status": {"phase": "Running", "conditions": [condition]}}
            with contextlib.suppress(client.ApiException):
                self._core.patch_namespaced_pod_status(pod.metadata.name, namespace, status)

    def _record(self) -> None:
        listed = self._apps.list_deployment_for_all_namespaces
        while not self._ended.is_set():
            with contextlib.suppress(client.ApiException, HTTPError):  # the last when the API server goes
                for event in cast(Any, watch).Watch().stream(listed, label_selector=SELECTOR, timeout_seconds=600):
                    self._note(event["object"])

    def _note(self, deployment: Any) -> None:
        namespace, replicas = deployment.metadata.namespace, deployment.spec.replicas
        before = self._replicas.get(namespace)
        self._replicas[namespace] = replicas
        if before is not None and before != replicas:
            self._changes.setdefault(namespace, []).append((before, replicas))


@contextlib.contextmanager
def nodeless(plane: ControlPlane) -> Iterator[Nodeless]:
    """Run beside ``plane``, which runs controllers."""
    running = Nodeless(plane)
    running.start()
    try:
        yield running
    finally:
        running.stop()
