"""Workers that tests of the operator's pure parts share."""

from __future__ import annotations

from typing import Any

from arklex_api.base import API_VERSION
from arklex_operator.load.source import Found, Source
from arklex_operator.reconcile.worker import Facts
from arklex_operator.settings import Settings

EXTERNAL = Found(Source.EXTERNAL, "Load", "scaled on our metric")
CPU = Found(Source.CPU, "CpuOnly", "scaled on CPU alone")
KEDA = Found(Source.KEDA, "Keda", "scaled by KEDA")

SETTINGS = Settings(
    redis_url="redis://arklex-redis.arklex-system.svc:6379/0",
    worker_redis_url="redis://arklex-redis.arklex-system.svc:6379/0",
    images={"custom": "arklex/worker:1", "llm": "arklex/worker-llm:1", "tool": "arklex/worker:1"},
    pod_namespace="arklex-system",
    api_server_cidrs=("203.0.113.7/32", "10.96.0.1/32"),
)

SPECS: dict[str, dict[str, Any]] = {
    "custom": {"type": "custom", "config": {"handler": "handlers:greet", "greeting": "it costs $(PRICE) or $5"}},
    "llm": {
        "type": "llm",
        "concurrency": 4,
        "drainSeconds": 120,
        "llm": {"provider": "openai", "model": "gpt-5-mini", "apiKeySecretRef": {"name": "openai", "key": "apiKey"}},
        "scaling": {"minReplicas": 0, "maxReplicas": 3, "cooldownSeconds": 60, "step": 2},
    },
    "sidecar": {
        "type": "custom",
        "config": {"port": 8000},
        "egress": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"], "ports": [5432]}],
        "template": {
            "metadata": {"annotations": {"example.com/team": "search"}},
            "spec": {
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "imagePullSecrets": [{"name": "registry"}],
                "containers": [
                    {"name": "handler", "image": "team/handler:7", "env": [{"name": "MODE", "value": "fast"}]},
                    {"name": "worker", "resources": {"limits": {"memory": "128Mi"}}},
                ],
                "volumes": [{"name": "handlers", "configMap": {"name": "handlers"}}],
            },
        },
    },
}


def raw(name: str, namespace: str = "team", **more: Any) -> dict[str, Any]:
    """One of SPECS as the API server returns it."""
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1, "resourceVersion": "7"}
    return {"apiVersion": API_VERSION, "kind": "Worker", "metadata": metadata, "spec": {**SPECS[name], **more}}


def facts(name: str, found: Found = EXTERNAL, **more: Any) -> Facts:
    """Facts of a Worker without children."""
    return Facts(raw(name), SETTINGS, found, **more)
