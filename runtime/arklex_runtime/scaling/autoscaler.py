"""The guide's AutoScaler: when a pool should grow or shrink."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

Decision = Literal["scale_up", "scale_down", "maintain"]


class AutoScaler:
    """Decides on load, within bounds, and not again before a cooldown is over.

    load = max((cpu_usage + memory_usage) / 2, queue_length / slots): the guide's score, and how full the queue makes the
    pool. ``config``: ``min_instances`` (2), ``max_instances`` (10), ``scale_up_threshold`` (0.8), ``scale_down_threshold``
    (0.2), ``cooldown_period`` (300 s), ``slots_per_instance`` (10, a Worker's concurrency).
    """

    def __init__(self, config: Mapping[str, Any] | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is in seconds and never goes back. Raises ValueError for bounds or thresholds that cross."""
        config = config or {}
        self.min_instances: int = config.get("min_instances", 2)
        self.max_instances: int = config.get("max_instances", 10)
        self.scale_up_threshold: float = config.get("scale_up_threshold", 0.8)
        self.scale_down_threshold: float = config.get("scale_down_threshold", 0.2)
        self.cooldown_period: float = config.get("cooldown_period", 300)
        self.slots_per_instance: int = config.get("slots_per_instance", 10)
        if not 0 <= self.min_instances <= self.max_instances:
            raise ValueError("min_instances must be between 0 and max_instances")
        if not self.scale_down_threshold < self.scale_up_threshold:
            raise ValueError("scale_down_threshold must be below scale_up_threshold")
        if self.slots_per_instance < 1 or self.cooldown_period < 0:
            raise ValueError("slots_per_instance must be at least 1, and cooldown_period not negative")
        self._clock = clock
        self._decided: float | None = None

    def load_score(self, metrics: Mapping[str, float]) -> float:
        """The load of ``metrics``, 1.0 being full: see ``check_scaling_needs`` for their names."""
        usage = (metrics.get("cpu_usage", 0.0) + metrics.get("memory_usage", 0.0)) / 2
        slots = metrics.get("instances", 1) * self.slots_per_instance
        return max(usage, metrics.get("queue_length", 0.0) / max(1.0, slots))

    def check_scaling_needs(self, metrics: Mapping[str, float]) -> Decision:
        """``scale_up``, ``scale_down`` or ``maintain``; anything but ``maintain`` starts the cooldown.

        ``metrics``: ``cpu_usage`` and ``memory_usage`` as shares (0 to 1), ``queue_length`` (tasks that wait or run) and
        ``instances`` (now; without it the bounds on their number are not looked at). What is missing counts as 0.
        Fewer instances than ``min_instances`` ask for more at once, more than ``max_instances`` for fewer.
        """
        instances = metrics.get("instances")
        if instances is not None and not self.min_instances <= instances <= self.max_instances:
            return self._decide("scale_up" if instances < self.min_instances else "scale_down")
        if self._decided is not None and self._clock() < self._decided + self.cooldown_period:
            return "maintain"
        load = self.load_score(metrics)
        if load > self.scale_up_threshold and (instances is None or instances < self.max_instances):
            return self._decide("scale_up")
        if load < self.scale_down_threshold and (instances is None or instances > self.min_instances):
            return self._decide("scale_down")
        return "maintain"

    def _decide(self, decision: Decision) -> Decision:
        self._decided = self._clock()
        return decision
