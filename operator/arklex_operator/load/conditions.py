"""What a Worker's status says of its scaling: ScalingActive and HysteresisExact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arklex_api.base import Condition
from arklex_api.worker import Scaling
from arklex_operator.load.band import band
from arklex_operator.load.controller import Target, read_target
from arklex_operator.load.source import SERVED, Found, Source
from arklex_operator.load.usage import Usage

_LONGEST = 2048


def scaling_active(scaling: Scaling, found: Found, hpa: Mapping[str, Any] | None) -> Condition:
    """Whether the pool is scaled, and on what. ``hpa`` is the HPA as the API server returned it, None while there is none."""
    if found.source is Source.KEDA:
        return _condition("ScalingActive", "True", found.reason, found.message + _zero(scaling, found))
    seen = _of(hpa, "ScalingActive")
    if seen is None:
        return _condition("ScalingActive", "Unknown", "Pending", f"the HPA has not been judged yet; {found.message}")
    if seen["status"] == "True":
        zero = _zero(scaling, found)
        found = SERVED if found.source is Source.EXTERNAL else found
        return _condition("ScalingActive", "True", "ZeroUnsupported" if zero else found.reason, found.message + zero)
    if seen.get("reason") == "ScalingDisabled" and scaling.min_replicas > 0:
        text = "the Deployment was scaled to 0 by hand: `kubectl scale` it to 1 or more, and scaling goes on"
        return _condition("ScalingActive", "False", "ScalingDisabled", text)
    reason = found.reason if found.reason == "MetricsUnavailable" else seen.get("reason") or "Unknown"
    return _condition("ScalingActive", "False", reason, f"{found.message}; {seen.get('message', '')}")


def hysteresis_exact(scaling: Scaling, found: Found, hpa: Mapping[str, Any] | None) -> Condition:
    """Whether the pool grows just above scaleUpThreshold and shrinks just below scaleDownThreshold, and at no other load."""
    kind = "HysteresisExact"
    if found.source is not Source.EXTERNAL:
        return _condition(kind, "False", found.reason, f"thresholds meet another load than the Worker's: {found.message}")
    target = read_target((hpa or {}).get("spec") or {})
    if target is None:
        return _condition(kind, "Unknown", "Pending", "the HPA has not been read back yet")
    edges = band(scaling)
    if edges.problem is not None:
        return _condition(kind, "False", "ThresholdTooFine", edges.problem)
    if not target.explicit:
        text = "this cluster drops HPA tolerances (Kubernetes before 1.37, or HPAConfigurableTolerance is off)"
        return _condition(kind, "True", "DeadBand", f"{text}: the metric keeps to the target inside the band instead")
    if not _matches(target, edges.lower, edges.upper):
        lower, upper = target.bounds()
        text = f"the HPA holds from {lower}m to {upper}m, the thresholds say {edges.lower}m to {edges.upper}m"
        return _condition(kind, "False", "Changed", f"{text}: somebody else changed the HPA, or it is about to be written")
    return _condition(kind, "True", "Exact", f"holds from {edges.lower}m to {edges.upper}m, both included")


def idle_below_threshold(scaling: Scaling, used: Usage | None, waiting: int) -> Condition | None:
    """Whether pods that have nothing to do count less than scaleDownThreshold, so that the pool can shrink at all.

    ``waiting``: tasks queued or in flight. None when it cannot be judged: the pool is busy, or no usage is known.
    """
    if used is None or waiting > 0 or scaling.scale_down_threshold == 0:
        return None
    kind, idle, threshold = "IdleBelowThreshold", used.share, scaling.scale_down_threshold
    shares = f"idle pods use {used.cpu:.0%} of their CPU and {used.memory:.0%} of their memory, which counts {idle:.2f}"
    if idle < threshold:
        return _condition(kind, "True", "IdleBelowThreshold", f"{shares}, below scaleDownThreshold {threshold:g}")
    fix = "raise resources.limits in spec.template, or scaling.scaleDownThreshold"
    return _condition(kind, "False", "IdleLoadTooHigh", f"{shares}: scaleDownThreshold {threshold:g} is never met; {fix}")


def _matches(target: Target, lower: int, upper: int) -> bool:
    return target.bounds() == (lower, upper)


def _zero(scaling: Scaling, found: Found) -> str:
    if scaling.min_replicas > 0 or found.source is Source.EXTERNAL:
        return ""
    return "; ZeroUnsupported: scaling.minReplicas 0 needs our metric, so one pod stays"


def _of(hpa: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any] | None:
    conditions = ((hpa or {}).get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), None)


def _condition(kind: str, status: Any, reason: str, message: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message[:_LONGEST])
