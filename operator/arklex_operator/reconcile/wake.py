"""When the operator wakes a pool at zero pods itself, since nothing else did."""

from __future__ import annotations

from arklex_api.worker import Scaling

PATIENCE = 60.0
"""Seconds that queued work waits for the HPA to wake a pool: with a metric it takes one sync, 15 s."""


def wakes(scaling: Scaling, *, desired: int, queued_for: float | None) -> bool:
    """Whether to set spec.replicas from 0 to 1, with a precondition on the resourceVersion that was seen.

    ``queued_for``: seconds for which work has been queued while the pool was at zero, None when nothing is queued. The HPA
    wakes only what it scaled to zero itself, and only with a metric; a pool that may never be at zero was put there by hand.
    """
    return scaling.min_replicas == 0 and desired == 0 and queued_for is not None and queued_for >= PATIENCE
