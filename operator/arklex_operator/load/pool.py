"""A Worker's pool as it is seen at one moment, and its load."""

from __future__ import annotations

from dataclasses import dataclass

from arklex_api.worker import Scaling
from arklex_operator.load.usage import Usage


@dataclass(frozen=True, slots=True)
class Pool:
    """What the load of a Worker is made of. Times are seconds up to the moment of observation."""

    scaling: Scaling
    concurrency: int
    desired: int
    """spec.replicas of the Deployment."""
    ready: int
    """Pods that take tasks: ready and not terminating."""
    counted: int
    """Pods that the HPA multiplies by: ready ones, surge and terminating ones included."""
    queued: int
    in_flight: int
    usage: Usage | None = None
    """None where metrics.k8s.io is missing or has no sample yet: the load is then the slots' alone."""
    since_change: float | None = None
    """Since spec.replicas last changed; None when it never did."""
    idle: float = 0.0
    """How long nothing has been queued or in flight."""

    @property
    def waiting(self) -> int:
        """Tasks that wait or run."""
        return self.queued + self.in_flight

    @property
    def slots(self) -> int:
        """Tasks that the pool runs at once. A rollout's surge pods are not counted: they leave again."""
        return min(self.ready, self.desired) * self.concurrency

    @property
    def queue_share(self) -> float:
        """(queued + in flight) / slots; a pool without a ready pod is as full as one pod would be."""
        return self.waiting / (self.slots or self.concurrency)

    @property
    def load(self) -> float:
        """max((cpu + memory) / 2, (queued + in flight) / slots); 1.0 is full."""
        return max(self.usage.share if self.usage else 0.0, self.queue_share)
