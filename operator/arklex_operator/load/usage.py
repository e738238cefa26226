"""CPU and memory of a pool's pods, as shares of what they may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from arklex_operator.load import quantity

Resources = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Shares of the pods' limits, averaged over ``pods`` pods; a resource without any limit or request counts as 0."""

    cpu: float
    memory: float
    pods: int

    @property
    def share(self) -> float:
        """The guide's load score: (cpu + memory) / 2."""
        return (self.cpu + self.memory) / 2


@dataclass(frozen=True, slots=True)
class Pod:
    """What is kept of a pod: ``limits`` by resource (cores, bytes), missing where some container names neither."""

    name: str
    counted: bool
    """Running and Ready, so the HPA multiplies by it, even while it terminates."""
    ready: bool
    """Counted, and not terminating: it takes tasks."""
    ready_since: datetime | None
    limits: Mapping[str, Fraction]


def read_pod(pod: Mapping[str, Any]) -> Pod:
    """A pod's part in the load, out of its object as the API server sends it."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    condition: Mapping[str, Any] = next((each for each in status.get("conditions") or () if each.get("type") == "Ready"), {})
    counted = status.get("phase") == "Running" and condition.get("status") == "True"
    since = condition.get("lastTransitionTime")
    return Pod(
        metadata["name"],
        counted,
        counted and not metadata.get("deletionTimestamp"),
        read_time(since) if since else None,
        {name: limit for name in ("cpu", "memory") if (limit := _limit(pod.get("spec") or {}, name))},
    )


def usage(pods: Iterable[Pod], samples: Mapping[str, Mapping[str, Any]]) -> Usage | None:
    """The average over ready pods with a sample; None when there is none.

    ``samples`` are PodMetrics of metrics.k8s.io by pod name. A sample whose window reaches back before the pod became ready
    says how it started, not how busy it is: it is left out.
    """
    shares = [
        (_share(sample, "cpu", pod), _share(sample, "memory", pod))
        for pod in pods
        if pod.ready and (sample := samples.get(pod.name)) and _after_start(pod, sample)
    ]
    if not shares:
        return None
    return Usage(sum(cpu for cpu, _ in shares) / len(shares), sum(memory for _, memory in shares) / len(shares), len(shares))


def read_time(text: str) -> datetime:
    """A Kubernetes time, which is UTC."""
    return datetime.fromisoformat(text)


def seconds(duration: str) -> float:
    """A Go duration as metrics.k8s.io writes windows: ``15s``, ``1m0.5s``."""
    total, number = 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    for character in duration.replace("ms", "f"):
        if character in units or character == "f":
            total += float(number) * units.get(character, 0.001)
            number = ""
        else:
            number += character
    return total


def _limit(spec: Mapping[str, Any], resource: str) -> Fraction | None:
    """The pod's own limit, else what all of its containers may use together; sidecars (restartPolicy Always) included."""
    whole = _of(spec.get("resources") or {}, resource)
    if whole is not None:
        return whole
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    each = [_of(container.get("resources") or {}, resource) for container in [*(spec.get("containers") or ()), *sidecars]]
    known = [limit for limit in each if limit is not None]
    return sum(known, Fraction(0)) if known and len(known) == len(each) else None


def _of(resources: Resources, resource: str) -> Fraction | None:
    text = (resources.get("limits") or {}).get(resource) or (resources.get("requests") or {}).get(resource)
    return quantity.parse(str(text)) if text else None


def _share(sample: Mapping[str, Any], resource: str, pod: Pod) -> float:
    limit = pod.limits.get(resource)
    if not limit:
        return 0.0
    used = (quantity.parse(str(each["usage"].get(resource, "0"))) for each in sample.get("containers") or ())
    return float(sum(used, Fraction(0)) / limit)


def _after_start(pod: Pod, sample: Mapping[str, Any]) -> bool:
    if pod.ready_since is None:
        return False
    window = timedelta(seconds=seconds(sample.get("window") or "0s"))
    return read_time(sample["timestamp"]) - window >= pod.ready_since
