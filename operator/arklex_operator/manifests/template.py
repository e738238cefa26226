"""What the author of a Worker may say in ``spec.template``: an allow-list, since the operator may do more than the author.

The chart's admission policy says the same at the API server; this holds where that policy is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from arklex_api.paths import Steps, render
from arklex_operator.manifests.merge import MERGE_KEYS
from arklex_operator.manifests.names import CONNECTION

TEMPLATE_FIELDS = frozenset({"metadata", "spec"})
METADATA_FIELDS = frozenset({"annotations", "labels"})
POD_FIELDS = frozenset({
    "affinity", "containers", "dnsConfig", "dnsPolicy", "hostAliases", "imagePullSecrets", "initContainers", "nodeSelector",
    "priorityClassName", "runtimeClassName", "schedulerName", "securityContext", "tolerations", "topologySpreadConstraints",
    "volumes",
})  # fmt: skip
CONTAINER_FIELDS = frozenset({
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "livenessProbe", "name", "ports", "readinessProbe",
    "resources", "securityContext", "startupProbe", "terminationMessagePath", "terminationMessagePolicy", "volumeMounts",
    "workingDir",
})  # fmt: skip
SECURITY_FIELDS = frozenset({
    "allowPrivilegeEscalation", "capabilities", "fsGroup", "fsGroupChangePolicy", "privileged", "readOnlyRootFilesystem",
    "runAsGroup", "runAsNonRoot", "runAsUser", "seccompProfile", "supplementalGroups",
})  # fmt: skip
VOLUME_SOURCES = frozenset({
    "configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
})  # fmt: skip
PROJECTED_SOURCES = frozenset({"configMap", "downwardAPI", "secret"})
RESERVED_PREFIXES = ("app.kubernetes.io/", "arklex.ai/", "controller.kubernetes.io/")
RESERVED_ENV = frozenset({
    "ARKLEX_WORKER", "ARKLEX_WORKER_SPEC", "ARKLEX_LEASE_SECONDS", "POD_NAME", "POD_NAMESPACE", "NODE_NAME",
})  # fmt: skip
RESERVED_SECRETS = frozenset({CONNECTION})
RESERVED_VOLUMES = ("connection", "secret-")
"""Volumes of ours: this one, and those whose names begin so."""

RESERVED_PATHS = ("/var/run/arklex", "/run/arklex", "/var/run/secrets", "/run/secrets")

_DNS_POLICIES = ("ClusterFirst", "Default", "None")
_SECCOMP = ("Localhost", "RuntimeDefault")


class Forbidden(NamedTuple):
    """A field of a template that an author may not set: its path, and what to do."""

    path: str
    fix: str


def forbidden(template: Mapping[str, Any] | None) -> list[Forbidden]:
    """Everything in ``spec.template`` that is not allowed, in the order of the template."""
    return [] if template is None else [Forbidden(render(steps), fix) for steps, fix in _template(template)]


Found = Iterator[tuple[Steps, str]]


def _template(template: Mapping[str, Any]) -> Found:
    at: Steps = ("spec", "template")
    yield from _fields(template, TEMPLATE_FIELDS, at)
    metadata: Any = template.get("metadata")
    spec: Any = template.get("spec")
    if _map(metadata):
        yield from _fields(metadata, METADATA_FIELDS, (*at, "metadata"))
        for field in METADATA_FIELDS:
            yield from _keys(metadata.get(field), (*at, "metadata", field))
    elif metadata is not None:
        yield (*at, "metadata"), "must be a map"
    if _map(spec):
        yield from _pod(spec, (*at, "spec"))
    elif spec is not None:
        yield (*at, "spec"), "must be a map"


def _keys(values: Any, at: Steps) -> Found:
    for key in values if _map(values) else ():
        if key.startswith(RESERVED_PREFIXES):
            yield (*at, key), "is set by the operator alone: use a key of your own"
        elif "apparmor.security" in key or "seccomp.security" in key:
            yield (*at, key), "loosens the sandbox: remove it"
        elif not isinstance(values[key], str) and values[key] is not None:
            yield (*at, key), "must be text: put it in quotes"


def _pod(pod: Mapping[str, Any], at: Steps) -> Found:
    yield from _fields(pod, POD_FIELDS, at)
    if pod.get("dnsPolicy") not in (None, *_DNS_POLICIES):
        yield (*at, "dnsPolicy"), f"may be one of {', '.join(_DNS_POLICIES)}"
    if str(pod.get("priorityClassName") or "").startswith("system-"):
        yield (*at, "priorityClassName"), "is for the cluster's own pods: use a PriorityClass of yours"
    yield from _security(pod.get("securityContext"), (*at, "securityContext"))
    for steps, secret in _items(pod, "imagePullSecrets", at):
        yield from _secret(secret.get("name"), (*steps, "name"))
    for field in ("containers", "initContainers"):
        for steps, container in _items(pod, field, at):
            yield from _container(container, steps)
    for steps, volume in _items(pod, "volumes", at):
        yield from _volume(volume, steps)
    for field in ("containers", "initContainers", "imagePullSecrets", "volumes"):
        yield from _list(pod, field, at)


def _container(container: Mapping[str, Any], at: Steps) -> Found:
    yield from _fields(container, CONTAINER_FIELDS, at)
    if not isinstance(container.get("name"), str):
        yield (*at, "name"), "is required: items are merged by name; the queue reader's container is called worker"
    yield from _security(container.get("securityContext"), (*at, "securityContext"))
    for field in ("ports", "env", "envFrom", "volumeMounts"):
        yield from _list(container, field, at)
    for steps, port in _items(container, "ports", at):
        for field in ("hostPort", "hostIP"):
            if port.get(field):
                yield (*steps, field), "opens the node: remove it; a Service reaches pods without"
    for steps, variable in _items(container, "env", at):
        if str(variable.get("name")) in RESERVED_ENV:
            yield (*steps, "name"), f"{variable['name']} is set by the operator alone"
        reference = _at(variable, "valueFrom", "secretKeyRef")
        yield from _secret(_at(reference, "name"), (*steps, "valueFrom", "secretKeyRef", "name"))
    for steps, source in _items(container, "envFrom", at):
        yield from _secret(_at(source, "secretRef", "name"), (*steps, "secretRef", "name"))
    for steps, mount in _items(container, "volumeMounts", at):
        path = str(mount.get("mountPath") or "").rstrip("/")
        if any(path == each or path.startswith(f"{each}/") for each in RESERVED_PATHS) or path in ("/var/run", "/run", "/var"):
            yield (*steps, "mountPath"), f"{path} is the operator's: mount it elsewhere"
        if str(mount.get("name") or "").startswith(RESERVED_VOLUMES):
            yield (*steps, "name"), "is a volume of the operator's: name one of yours"
        if mount.get("mountPropagation") not in (None, "None"):
            yield (*steps, "mountPropagation"), "reaches into the node: remove it"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        for action in ("httpGet", "tcpSocket"):
            if _at(container, probe, action, "host"):
                yield (*at, probe, action, "host"), "makes the node call out: remove it"


def _security(context: Any, at: Steps) -> Found:
    if not _map(context):
        return
    yield from _fields(context, SECURITY_FIELDS, at)
    for field in ("privileged", "allowPrivilegeEscalation"):
        if context.get(field):
            yield (*at, field), 'leaves Pod Security "restricted": remove it'
    if context.get("runAsNonRoot") is False or context.get("runAsUser") == 0:
        field = "runAsUser" if context.get("runAsUser") == 0 else "runAsNonRoot"
        yield (*at, field), "runs as root: build the image with a numeric USER from 1"
    capabilities = context.get("capabilities")
    if _at(capabilities, "add"):
        yield (*at, "capabilities", "add"), 'leaves Pod Security "restricted": remove it'
    if _map(capabilities) and "drop" in capabilities and capabilities["drop"] != ["ALL"]:
        yield (*at, "capabilities", "drop"), "must stay [ALL]"
    if _at(context, "seccompProfile", "type") not in (None, *_SECCOMP):
        yield (*at, "seccompProfile", "type"), f"may be one of {', '.join(_SECCOMP)}"


def _volume(volume: Mapping[str, Any], at: Steps) -> Found:
    name = volume.get("name")
    if not isinstance(name, str):
        yield (*at, "name"), "is required"
    elif name.startswith(RESERVED_VOLUMES):
        yield (*at, "name"), f"'{name}' is a volume of the operator's: choose another name"
    elif name == "tmp" and set(volume) - {"name", "emptyDir"}:
        yield (*at, "name"), "'tmp' is the operator's emptyDir: choose another name, or change its emptyDir only"
    yield from _fields(volume, VOLUME_SOURCES | {"name"}, at)
    yield from _secret(_at(volume, "secret", "secretName"), (*at, "secret", "secretName"))
    for steps, source in _items(volume.get("projected"), "sources", (*at, "projected")):
        yield from _fields(source, PROJECTED_SOURCES, steps)
        yield from _secret(_at(source, "secret", "name"), (*steps, "secret", "name"))


def _secret(name: Any, at: Steps) -> Found:
    if isinstance(name, str) and name in RESERVED_SECRETS:
        yield at, f"the Secret {name} is the operator's: use one of yours"


def _fields(values: Mapping[str, Any], allowed: frozenset[str], at: Steps) -> Found:
    for key in values:
        if key not in allowed:
            yield (*at, key), f"is not allowed; allowed are {', '.join(sorted(allowed))}"


def _list(values: Mapping[str, Any], field: str, at: Steps) -> Found:
    value = values.get(field)
    if value is not None and not (isinstance(value, list) and all(_map(item) for item in value)):
        yield (*at, field), "must be a list of maps"
    by, seen = MERGE_KEYS.get(field, ""), set[str]()
    for steps, item in _items(values, field, at) if by and field != "ports" else ():
        key = str(item.get(by))
        if by in item and key in seen:
            yield (*steps, by), f"'{key[:100]}' is there twice: items are merged by it"
        seen.add(key)


def _items(values: Any, field: str, at: Steps) -> Iterator[tuple[Steps, Mapping[str, Any]]]:
    found = values.get(field) if _map(values) else None
    for index, item in enumerate(found if isinstance(found, list) else ()):
        if _map(item):
            yield (*at, field, index), item


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if _map(value) else None
    return value


def _map(value: Any) -> bool:
    return isinstance(value, Mapping)
