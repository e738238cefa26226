"""How the HPA controller (Kubernetes 1.37) decides on one External metric of type Value: in floats, as it does itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arklex_operator.load import quantity

DEFAULT_TOLERANCE = 0.1
"""What ``--horizontal-pod-autoscaler-tolerance`` is where nobody sets it, and an HPA says nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an HPA compares a value with: ``value`` in milli-units of load, tolerances as shares of it."""

    value: int
    up: float
    down: float
    explicit: bool = True
    """Whether the HPA names both tolerances. A cluster that does not know the field drops it silently."""

    def within(self, value: int) -> bool:
        """Whether the controller leaves the number of pods alone at ``value`` milli-units."""
        ratio = value / self.value
        return 1.0 - self.down <= ratio <= 1.0 + self.up

    def replicas(self, value: int, *, current: int, ready: int) -> int:
        """Pods that the controller asks for at ``value``, before policies and bounds.

        ``current`` is spec.replicas, ``ready`` the pods its selector finds Running and Ready, surge and terminating ones
        included: the controller multiplies by those.
        """
        if current == 0:
            return math.ceil(value / self.value)
        if self.within(value):
            return current
        return math.ceil(value / self.value * ready)

    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest value, in milli-units, at which it holds."""
        lower, upper = max(0, math.floor(self.value * (1 - self.down)) - 2), math.floor(self.value * (1 + self.up)) + 2
        while not self.within(lower):
            lower += 1
        while not self.within(upper):
            upper -= 1
        return lower, upper


def read_target(spec: Mapping[str, Any]) -> Target | None:
    """The target and tolerances of an HPA's spec as the API server returned it; None when it has no External metric."""
    for metric in spec.get("metrics") or ():
        external = metric.get("external") or {}
        value = (external.get("target") or {}).get("value")
        if metric.get("type") == "External" and value is not None:
            up, down = (_tolerance(spec, direction) for direction in ("scaleUp", "scaleDown"))
            explicit = up is not None and down is not None
            return Target(
                max(1, quantity.milli(str(value))),
                DEFAULT_TOLERANCE if up is None else up,
                DEFAULT_TOLERANCE if down is None else down,
                explicit,
            )
    return None


def limit(wanted: int, *, current: int, step: int, lowest: int, highest: int) -> int:
    """What policies of ``step`` Pods and the HPA's bounds leave of ``wanted``, when nothing changed within the period."""
    if wanted > current:
        return min(wanted, highest, current + step)
    if wanted < current:
        return max(wanted, lowest, current - step)
    return current


def _tolerance(spec: Mapping[str, Any], direction: str) -> float | None:
    tolerance = ((spec.get("behavior") or {}).get(direction) or {}).get("tolerance")
    return None if tolerance is None else quantity.approximate(str(tolerance))
