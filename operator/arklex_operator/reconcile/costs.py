"""Which pods a shrinking pool should lose first: controller.kubernetes.io/pod-deletion-cost by what they hold."""

from __future__ import annotations

from collections.abc import Mapping

from arklex_api.worker import Scaling

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"

INTERVAL = 10.0
"""Seconds between two writes to one pod."""

_NEAR = 1.5


def bucket(held: int, concurrency: int) -> int:
    """0 for an idle pod, else 1, 10 or 100 by the third of its slots that is in use: few values, so few writes."""
    if held <= 0:
        return 0
    return (1, 10, 100)[min(2, (held - 1) * 3 // concurrency)]


def nears_shrink(load: float, scaling: Scaling, desired: int) -> bool:
    """Whether the pool may soon lose a pod, or surely will: the costs must be right by then, and are not written before."""
    if desired > scaling.max_replicas:
        return True
    return desired > scaling.min_replicas and load < scaling.scale_down_threshold * _NEAR


def costs_to_write(
    held: Mapping[str, int], annotated: Mapping[str, str | None], written: Mapping[str, float], now: float, concurrency: int
) -> dict[str, str]:
    """Pod name → annotation, for pods whose bucket changed and that were not written to within INTERVAL.

    ``held`` is each pod's tasks (the pods hash), ``annotated`` what its annotation is now (None: absent, which counts as 0),
    ``written`` when it was last written to, in seconds of the clock of ``now``.
    """
    wanted = {pod: str(bucket(held.get(pod, 0), concurrency)) for pod in annotated}
    return {
        pod: cost
        for pod, cost in wanted.items()
        if cost != (annotated[pod] or "0") and now - written.get(pod, -INTERVAL) >= INTERVAL
    }
