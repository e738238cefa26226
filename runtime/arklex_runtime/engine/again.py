"""What of a finished run a retry may keep (semantics.md, "retry RUN [--from TASK]")."""

from __future__ import annotations

from arklex_api.base import JSON
from arklex_runtime.engine.state import CANCELLED, FAILED, SKIPPED, SUCCEEDED, RunState, Scope


def kept(state: RunState, from_task: str | None = None) -> dict[str, JSON]:
    """Outputs of the main tasks that need not run again: all that succeeded and come after nothing that runs again.

    What runs again: tasks that failed, were cancelled or skipped for another reason than their own condition, ``from_task``,
    and all that depends on these. Raises KeyError for a ``from_task`` that the graph does not have.
    """
    scope = state.root
    if scope is None:
        return {}
    again = {i for i, task in enumerate(scope.tasks[: scope.plan.finals]) if _repeats(task.phase, task.allowed)}
    if from_task is not None:
        again.add(scope.plan.by_name[from_task])
    for index in _downstream(scope, again):
        again.add(index)
    main = enumerate(scope.tasks[: scope.plan.finals])
    return {task.node.name: task.output for i, task in main if task.phase == SUCCEEDED and i not in again}


def _repeats(phase: str, allowed: bool) -> bool:
    return phase in (FAILED, CANCELLED) or (phase == SKIPPED and not allowed)


def _downstream(scope: Scope, seeds: set[int]) -> list[int]:
    found = list(seeds)
    seen = set(seeds)
    for index in found:
        node = scope.plan.nodes[index]
        for after in (*node.dependents, *node.fallback_for):
            if after not in seen:
                seen.add(after)
                found.append(after)
    return found
