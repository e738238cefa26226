"""Conditions of TaskGraphs and TaskGraphRuns that the runtime owns: Completed and Succeeded (KEP-1623)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from arklex_runtime.kube.fold import Progress
from arklex_runtime.kube.texts import cut, reason_of

Conditions: TypeAlias = list[dict[str, Any]]

OWNED = ("Completed", "Succeeded")
TERMINAL = frozenset({"Succeeded", "Failed", "Cancelled"})
MESSAGE = 1024


def conditions_of(
    progress: Progress, reason: str | None, generation: int | None, before: Sequence[Mapping[str, Any]], now: str
) -> Conditions:
    """Completed and Succeeded of a run, judged for ``generation``, in an object whose conditions were ``before``.

    ``reason`` is why it is pending or failed, in CamelCase, where the phase does not say it. ``now`` (RFC 3339) becomes the
    lastTransitionTime of those whose status moves; the others keep theirs.
    """
    phase = str(progress.get("phase") or "Pending")
    message = str(progress.get("message") or "")
    over = phase in TERMINAL
    completed = ("True" if over else "False", phase if over else reason or phase, message)
    ended_well = "True" if phase == "Succeeded" else "False" if over else "Unknown"
    succeeded = (ended_well, reason or phase, message)
    earlier = {condition.get("type"): condition for condition in before}
    return [
        _condition(kind, *says, generation, earlier.get(kind), now)
        for kind, says in zip(OWNED, (completed, succeeded), strict=True)
    ]


def _condition(
    kind: str, status: str, reason: str, message: str, generation: int | None, before: Mapping[str, Any] | None, now: str
) -> dict[str, Any]:
    moved = before is None or before.get("status") != status or not before.get("lastTransitionTime")
    made: dict[str, Any] = {
        "type": kind,
        "status": status,
        "reason": reason_of(reason),
        "message": cut(message, MESSAGE),
        "lastTransitionTime": now if moved or before is None else before["lastTransitionTime"],
    }
    return made if generation is None else {**made, "observedGeneration": generation}
