"""Why pods do not work, in words for whoever has to mend it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from arklex_operator.manifests.kinds import Object

MOUNTING = timedelta(seconds=15)
"""How long a pod may be about to mount its volumes before its events are asked for."""

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_MISSING = re.compile(r"(secret|configmap) \"([^\"]+)\" not found|references non-existent (secret|config) key: (\S+)", re.I)
_COUNTED_RESTARTS = 2


class Trouble(NamedTuple):
    """A reason for machines, and a message that says what to do."""

    reason: str
    message: str


def trim_pod(value: Mapping[str, Any]) -> Object:
    """What is kept of a pod: about a kilobyte."""
    metadata, spec, status = value["metadata"], value.get("spec") or {}, value.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "creationTimestamp", "deletionTimestamp", "annotations")
    containers = ("name", "image", "resources", "restartPolicy")
    states = ("name", "ready", "state", "lastState", "restartCount", "image")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _only(metadata, kept),
        "spec": {
            "nodeName": spec.get("nodeName"),
            "resources": spec.get("resources"),
            "volumes": [each for each in spec.get("volumes") or () if "secret" in each or "configMap" in each],
            **{
                field: [_only(each, containers) for each in spec.get(field) or ()] for field in ("containers", "initContainers")
            },
        },
        "status": {
            **_only(status, ("phase", "reason", "message", "conditions")),
            **{
                field: [_only(each, states) for each in status.get(field) or ()]
                for field in ("containerStatuses", "initContainerStatuses")
            },
        },
    }


def mounting(pods: Iterable[Object], now: datetime) -> list[Object]:
    """Pods that have been scheduled and wait for their volumes for longer than they should: ask for their events."""
    return [pod for pod in pods if waits_for_volumes(pod) and now - _created(pod) > MOUNTING]


def trouble(pods: Sequence[Object], deployment: Mapping[str, Any] | None, mounts: Mapping[str, str]) -> Trouble | None:
    """What is wrong with a Worker's pods, the newest first; ``mounts`` are the messages of FailedMount events by pod UID."""
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    for pod in sorted(alive, key=_created, reverse=True):
        if found := _pod_trouble(pod, mounts.get(pod["metadata"]["uid"])):
            return found
    return _deployment_trouble(deployment or {})


def _pod_trouble(pod: Object, mount: str | None) -> Trouble | None:
    status, metadata = pod["status"], pod["metadata"]
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            text = f"pod {metadata['name']} fits no node: {condition.get('message', '')}"
            return Trouble("Unschedulable", f"{text}; lower spec.template's requests, or add nodes")
    for state in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if found := _container_trouble(pod, state):
            return found
    if mount is not None and waits_for_volumes(pod):
        return _missing(mount, pod) or Trouble("MountFailed", f"pod {metadata['name']} cannot mount its volumes: {mount[:600]}")
    if status.get("phase") == "Failed":
        return Trouble("PodsFailed", f"pod {metadata['name']}: {status.get('reason', '')} {status.get('message', '')}".strip())
    return None


def _container_trouble(pod: Object, state: Mapping[str, Any]) -> Trouble | None:
    waiting = (state.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _IMAGE:
        image = _image(pod, state["name"]) or state.get("image", "")
        detail = f" ({message[:600]})" if message else ""
        fix = "correct the image's name, make it available to the nodes, or name imagePullSecrets in spec.template"
        return Trouble("ImagePullFailed", f"the image {image} cannot be pulled: {reason}{detail}; {fix}")
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        fix = ""
        if "run as root" in message or "non-numeric user" in message:
            fix = "; build the image with a numeric USER, or set securityContext.runAsUser in spec.template"
        return _missing(message, pod) or Trouble("PodsMisconfigured", f"container {state['name']}: {message[:600]}{fix}")
    return _crash(pod, state, waiting_reason=reason)


def _crash(pod: Object, state: Mapping[str, Any], waiting_reason: str) -> Trouble | None:
    now = state.get("state") or {}
    ended = now.get("terminated") or (state.get("lastState") or {}).get("terminated") or {}
    counted = 1 if ended.get("reason") == "OOMKilled" else _COUNTED_RESTARTS
    loops = waiting_reason == "CrashLoopBackOff" or (not state.get("ready") and state.get("restartCount", 0) >= counted)
    if not ended or not (loops or (now.get("terminated") and ended.get("exitCode"))):
        return None
    name, container = pod["metadata"]["name"], state["name"]
    if ended.get("reason") == "OOMKilled":
        return Trouble("OutOfMemory", f"container {container} of pod {name} was killed for its memory: raise "
                       "resources.limits.memory in spec.template, or lower spec.concurrency")  # fmt: skip
    if ended.get("exitCode") == 0:
        look = f"kubectl describe pod -n {pod['metadata']['namespace']} {name}"
        text = f"container {container} of pod {name} ended with exit code 0, as it does when a probe fails; see `{look}`"
        return Trouble("PodsCrash", text)
    said = [line.strip() for line in (ended.get("message") or "").splitlines() if line.strip()]
    tail = f": {said[-1][:400]}" if said else ""
    logs = f"kubectl logs -n {pod['metadata']['namespace']} {name} -c {container} --previous"
    return Trouble(
        "PodsCrash", f"container {container} of pod {name} ended with exit code {ended.get('exitCode')}{tail}; see `{logs}`"
    )


def _missing(message: str, pod: Object) -> Trouble | None:
    """A Secret or ConfigMap, or a key of one, that is not there."""
    found = _MISSING.search(message)
    if found is None:
        return None
    if found[1]:
        kind, name = ("Secret" if found[1].lower() == "secret" else "ConfigMap"), found[2]
        return Trouble(f"{kind}Missing", f"there is no {kind} {name} in this namespace: create it, and the pods start")
    kind = "Secret" if found[3].lower() == "secret" else "ConfigMap"
    volume = re.search(r"volume \"([^\"]+)\"", message)
    name = _source(pod, volume[1]) if volume else ""
    return Trouble(f"{kind}Missing", f"the {kind} {name} has no key {found[4]}: add it, and the pods start")


def _source(pod: Object, volume: str) -> str:
    """The name of the Secret or ConfigMap that a volume shows."""
    for each in pod["spec"].get("volumes") or ():
        if each.get("name") == volume:
            return str((each.get("secret") or {}).get("secretName") or (each.get("configMap") or {}).get("name") or "")
    return ""


def _deployment_trouble(deployment: Mapping[str, Any]) -> Trouble | None:
    conditions = {each["type"]: each for each in (deployment.get("status") or {}).get("conditions") or ()}
    failure = conditions.get("ReplicaFailure")
    if failure is not None and failure.get("status") == "True":
        message = failure.get("message", "")
        if "exceeded quota" in message:
            return Trouble("QuotaExceeded", f"{message[:900]}; raise the ResourceQuota or lower spec.template's resources")
        return Trouble("PodsForbidden", f"pods may not be created: {message[:900]}")
    progressing = conditions.get("Progressing")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        return Trouble("RolloutStuck", f"new pods are not ready after ten minutes: {progressing.get('message', '')[:600]}")
    return None


def waits_for_volumes(pod: Object) -> bool:
    """Whether a pod is on its node and not yet started: its volumes are being mounted, or cannot be."""
    if not pod["spec"].get("nodeName") or pod["status"].get("phase") != "Pending":
        return False
    states = (*(pod["status"].get("initContainerStatuses") or ()), *(pod["status"].get("containerStatuses") or ()))
    reasons = {((state.get("state") or {}).get("waiting") or {}).get("reason") for state in states}
    return not states or reasons <= {"ContainerCreating", "PodInitializing"}


def _image(pod: Object, container: str) -> str | None:
    for each in (*pod["spec"]["containers"], *pod["spec"]["initContainers"]):
        if each["name"] == container:
            return str(each.get("image"))
    return None


def _created(pod: Object) -> datetime:
    return datetime.fromisoformat(pod["metadata"].get("creationTimestamp") or "1970-01-01T00:00:00Z")


def _only(value: Mapping[str, Any], keys: Iterable[str]) -> Object:
    return {key: value[key] for key in keys if key in value}
