"""What the HPA is told of a pool: its load where that decides rightly, a value that holds where it would not.

The HPA multiplies by ready pods and its policies know no common cooldown (cluster.md, "Autoscaling"): the guide's rule is
kept by what it is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from arklex_operator.load.band import Band, band
from arklex_operator.load.controller import Target
from arklex_operator.load.pool import Pool

Reason = Literal["Load", "Cooldown", "NotReady", "Idle", "Asleep", "Waking"]

SECOND = 1.0
"""Kubernetes cuts the times of changes to seconds: a cooldown that starts at one may have started almost a second later."""


@dataclass(frozen=True, slots=True)
class Told:
    """The value in milli-units of load, and why it is that."""

    value: int
    reason: Reason

    @property
    def text(self) -> str:
        """The value as a quantity."""
        return "0" if self.value == 0 else f"{self.value}m"


def tell(pool: Pool, target: Target | None = None) -> Told:
    """What the HPA is told of ``pool``; ``target`` is what its HPA decides by, the band's own when unknown."""
    edges = band(pool.scaling)
    target = target or edges.as_target()
    if pool.desired == 0:
        return _asleep(pool, target)
    if pool.since_change is not None and pool.since_change < pool.scaling.cooldown_seconds + SECOND:
        return Told(_held(pool, target), "Cooldown")
    if pool.scaling.min_replicas == 0 and pool.waiting == 0 and pool.idle >= pool.scaling.cooldown_seconds:
        return Told(0, "Idle")
    unready = pool.ready < pool.desired and pool.load * 1000 > target.value
    if unready or pool.counted == 0:
        return Told(_held(pool, target), "NotReady")
    return Told(_decisive(pool, edges, target), "Load")


def _asleep(pool: Pool, target: Target) -> Told:
    """At zero pods the controller asks for ceil(value / target): at least a trace of a load wakes it, by one step at most."""
    if pool.waiting == 0:
        return Told(0, "Asleep")
    value = max(1, round(pool.waiting * 1000 / pool.concurrency))
    return Told(min(value, target.value * pool.scaling.step), "Waking")


def _held(pool: Pool, target: Target) -> int:
    """The load where the HPA holds at it, else the nearest value at which it does."""
    if not target.explicit:  # its tolerance is the cluster's, which nobody tells us
        return target.value
    lower, upper = target.bounds()
    return min(max(round(pool.load * 1000), lower, _least(pool)), upper)


def _least(pool: Pool) -> int:
    """0 takes the last pod of a pool that may have none: only idleness says it."""
    return 1 if pool.scaling.min_replicas == 0 else 0


def _decisive(pool: Pool, edges: Band, target: Target) -> int:
    """A value at which the controller does what the thresholds say, by a whole step."""
    value, load, scaling = round(pool.load * 1000), pool.load, pool.scaling
    if load > scaling.scale_up_threshold:
        least = target.value * (pool.desired + scaling.step - 1) // pool.counted + 1
        return max(value, edges.upper + 1, least, _past(target)[1])
    if load < scaling.scale_down_threshold and edges.lower > 1:
        wanted = max(1, pool.desired - scaling.step)
        most = min(value, edges.lower - 1, target.value * wanted // pool.counted, _past(target)[0])
        while most > 1 and target.replicas(most, current=pool.desired, ready=pool.counted) > wanted:
            most -= 1
        return max(_least(pool), most)
    return _held(pool, target)


def _past(target: Target) -> tuple[int, int]:
    """Values below and above which the HPA surely acts: past its bounds, or far off where its tolerance is unknown."""
    if not target.explicit:
        return max(1, target.value // 2), math.ceil(target.value * 1.5)
    lower, upper = target.bounds()
    return max(1, lower - 1), upper + 1
