"""Pools of Workers for tests of autoscaling: objects, pods that a test declares ready, work in Redis."""

from __future__ import annotations

import json
from typing import Any

import redis

from arklex_api.worker import Worker
from arklex_operator.load.source import Source
from arklex_operator.manifests.hpa import hpa
from tests.controlplane import ControlPlane

RESOURCES = {"limits": {"cpu": "500m", "memory": "512Mi"}}


def worker(namespace: str, name: str, concurrency: int = 10, **scaling: Any) -> dict[str, Any]:
    """A Worker's manifest; ``scaling`` are its fields as in a manifest."""
    return {
        "apiVersion": "arklex.ai/v1alpha1",
        "kind": "Worker",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "tool", "concurrency": concurrency, "scaling": scaling},
    }


def labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "arklex-worker", "app.kubernetes.io/instance": name, "arklex.ai/worker": name}


def deployment(namespace: str, name: str, replicas: int) -> dict[str, Any]:
    """The Deployment of a Worker as the operator makes it, as far as scaling is concerned."""
    container = {"name": "worker", "image": "none", "resources": RESOURCES}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{name}-worker", "namespace": namespace, "labels": labels(name)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels(name)},
            "template": {"metadata": {"labels": labels(name)}, "spec": {"containers": [container]}},
        },
    }


def autoscaler(manifest: dict[str, Any]) -> dict[str, Any]:
    """The HPA of a Worker, as the operator makes it."""
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    metadata = {"name": f"{name}-worker", "namespace": namespace, "labels": labels(name)}
    return hpa(Worker.model_validate(manifest), Source.EXTERNAL, metadata)


def pod(namespace: str, worker_name: str, name: str) -> dict[str, Any]:
    """A pod of a pool without controllers."""
    container = {"name": "worker", "image": "none", "resources": RESOURCES}
    metadata = {"name": name, "namespace": namespace, "labels": labels(worker_name)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


READY = {
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }
}


def apply(plane: ControlPlane, *manifests: dict[str, Any]) -> None:
    """Apply manifests, server-side."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    plane.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=text)


def make_ready(plane: ControlPlane, namespace: str, *pods: str) -> None:
    """Declare pods running and ready, as a kubelet would."""
    for each in pods:
        patch = ("--subresource=status", "--type=merge", f"--patch={json.dumps(READY)}")
        plane.kubectl("patch", "pod", each, f"--namespace={namespace}", *patch)


class Work:
    """The stream of a Worker, filled and emptied as runtimes and pods do."""

    def __init__(self, url: str, namespace: str, name: str) -> None:
        self._redis = redis.Redis.from_url(url)
        self._stream = f"arklex:{{{namespace}}}:jobs:{name}"
        self._redis.xgroup_create(self._stream, "pool", id="0", mkstream=True)

    def queue(self, tasks: int) -> None:
        """Send attempts."""
        for _ in range(tasks):
            self._redis.xadd(self._stream, {"j": "{}"})

    def claim(self, tasks: int) -> None:
        """Let a pod start attempts."""
        self._redis.xreadgroup("pool", "pod", {self._stream: ">"}, count=tasks)

    def finish(self) -> None:
        """Take everything out again."""
        self._redis.xgroup_setid(self._stream, "pool", id="$")
        for pending in self._redis.xpending_range(self._stream, "pool", "-", "+", 10_000):
            self._redis.xack(self._stream, "pool", pending["message_id"])
        self._redis.xtrim(self._stream, maxlen=0, approximate=False)

    def set(self, tasks: int) -> None:
        """Have exactly so many attempts queued."""
        self.finish()
        self.queue(tasks)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
