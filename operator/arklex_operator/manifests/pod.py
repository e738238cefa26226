"""The pod template of a Worker: what the contract asks for (docs/decisions/0006), under the author's overlay."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from arklex_api.worker import Worker
from arklex_operator.load import quantity
from arklex_operator.manifests.kinds import Object
from arklex_operator.manifests.merge import merge
from arklex_operator.manifests.names import CONNECTION, child_name, labels, selector

CONTAINER = "worker"
HANDLER = "handler"
"""The container of the author's that becomes a sidecar where ``config.port`` is set."""

SCRATCH = ("tmp",)
"""Folders below the root that a process may write to."""

PORT = 9090
CONNECTION_PATH = "/var/run/arklex/connection"
SECRETS_PATH = "/var/run/arklex/secrets"

_SMALL = {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
_LARGE = {"requests": {"cpu": "100m", "memory": "320Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
RESOURCES: Mapping[str, Object] = {"tool": _SMALL, "custom": _SMALL, "llm": _LARGE}
"""Resources by type: an idle process (about 120 MiB; llm 200) stays under a load of 0.2, so that idle pools shrink."""


@dataclass(frozen=True, slots=True)
class PodOptions:
    """What the operator's settings and other objects add: ``secrets`` are (Secret, key) pairs to mount as files.

    ``required`` are Secrets without which a pod cannot work; the others may come later.
    """

    image: str
    pull_policy: str = "IfNotPresent"
    lease: float = 10.0
    secrets: frozenset[tuple[str, str]] = frozenset()
    required: frozenset[str] = field(default_factory=frozenset)


def pod_template(worker: Worker, options: PodOptions) -> Object:
    """The template, complete; ``spec.template`` must have passed ``template.forbidden``."""
    name = worker.metadata.name
    base: Object = {
        "metadata": {"labels": labels(name)},
        "spec": {
            "serviceAccountName": child_name(name),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": worker.spec.drain_seconds + 15,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [_container(worker, options)],
            "volumes": [_connection(), *_secret_volumes(options), *_scratch()],
            "topologySpreadConstraints": [
                _spread(name, key) for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
            ],
        },
    }
    merged: Object = merge(base, worker.spec.template or {})
    merged["metadata"]["labels"] = {**(merged["metadata"].get("labels") or {}), **labels(name)}
    return _settled(merged, worker.spec.config.get("port"))


def _container(worker: Worker, options: PodOptions) -> Object:
    spec = worker.spec
    told = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    told = {key: told[key] for key in ("type", "config", "llm", "concurrency", "drainSeconds") if key in told}
    environment = {
        "ARKLEX_WORKER": worker.metadata.name,
        "ARKLEX_WORKER_SPEC": orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode(),
        "ARKLEX_LEASE_SECONDS": f"{options.lease:g}",
    }
    fields = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "NODE_NAME": "spec.nodeName"}
    return {
        "name": CONTAINER,
        "image": options.image,
        "imagePullPolicy": options.pull_policy,
        "command": ["arklex", "worker"],
        "env": [
            *({"name": name, "value": _literal(value)} for name, value in environment.items()),
            *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
        ],
        "ports": [{"name": "metrics", "containerPort": PORT, "protocol": "TCP"}],
        "resources": RESOURCES.get(spec.type, _LARGE),
        "securityContext": {"readOnlyRootFilesystem": True},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "connection", "mountPath": CONNECTION_PATH, "readOnly": True},
            *(
                {"name": _volume_name(secret), "mountPath": f"{SECRETS_PATH}/{secret}", "readOnly": True}
                for secret in _by_secret(options.secrets)
            ),
            *({"name": name, "mountPath": f"/{name}"} for name in SCRATCH),
        ],
        "startupProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": PORT},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 5, "timeoutSeconds": 5},
    }


def _literal(value: str) -> str:
    """A value that the kubelet does not expand: ``$(NAME)`` in it stays as it is."""
    return value.replace("$", "$$")


def _connection() -> Object:
    return {"name": "connection", "secret": {"secretName": CONNECTION, "defaultMode": 0o444}}


def _scratch() -> list[Object]:
    return [{"name": name, "emptyDir": {"sizeLimit": "256Mi"}} for name in SCRATCH]


def _secret_volumes(options: PodOptions) -> list[Object]:
    return [
        {
            "name": _volume_name(secret),
            "secret": {
                "secretName": secret,
                "defaultMode": 0o444,
                "optional": secret not in options.required,
                "items": [{"key": key, "path": key} for key in keys],
            },
        }
        for secret, keys in _by_secret(options.secrets).items()
    ]


def _by_secret(secrets: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for secret, key in sorted(secrets):
        found.setdefault(secret, []).append(key)
    return found


def _volume_name(secret: str) -> str:
    return f"secret-{hashlib.sha256(secret.encode()).hexdigest()[:12]}"


def _spread(worker: str, key: str) -> Object:
    return {
        "topologyKey": key,
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(worker)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _settled(template: Object, port: Any) -> Object:
    """What no overlay takes away: the restricted profile of every container; the handler as a sidecar."""
    spec: Object = dict(template["spec"])
    context = dict(spec.get("securityContext") or {})
    seccomp = context.get("seccompProfile") or {"type": "RuntimeDefault"}
    spec["securityContext"] = {**context, "runAsNonRoot": True, "seccompProfile": seccomp}
    containers = [_restricted(each) for each in spec["containers"]]
    first = [_restricted(each) for each in spec.get("initContainers") or ()]
    if port is not None:
        first += [_sidecar(each, port) for each in containers if each["name"] == HANDLER]
        containers = [each for each in containers if each["name"] != HANDLER]
    containers.sort(key=lambda each: each["name"] != CONTAINER)
    spec["containers"] = containers
    if first:
        spec["initContainers"] = first
    return {**template, "spec": spec}


def _restricted(container: Object) -> Object:
    context = dict(container.get("securityContext") or {})
    context |= {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    return {**container, "securityContext": context, "resources": _consistent(container.get("resources") or {})}


def _consistent(resources: Object) -> Object:
    """Requests that an author's lower limits leave possible."""
    limits, requests = resources.get("limits") or {}, dict(resources.get("requests") or {})
    for name, limit in limits.items():
        if name in requests and _parsed(requests[name]) > _parsed(limit):
            requests[name] = limit
    return {**resources, **({"requests": requests} if requests else {})}


def _parsed(text: Any) -> Any:
    try:
        return quantity.parse(str(text))
    except ValueError:
        return 0


def _sidecar(container: Object, port: int) -> Object:
    """As a native sidecar it starts before the queue reader and ends after it. It is up when its port takes connections."""
    probe = {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 120}
    return {"startupProbe": probe, **container, "restartPolicy": "Always"}
