"""What attempts logged, as the door and the command line show it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from arklex_runtime.orchestrator.attempt import path_of
from arklex_runtime.state.records import AttemptLog


def log_documents(logs: Iterable[AttemptLog], task: str | None = None) -> list[dict[str, Any]]:
    """``{task, attempt, pod, node, text}`` for each attempt that logged; ``task``: only of that task, with its items."""
    found = [(path_of(log.key), log) for log in logs]
    wanted = [(path, log) for path, log in found if task is None or path == task or path.startswith((f"{task}[", f"{task}/"))]
    return [{"task": path, "attempt": log.attempt, "pod": log.pod, "node": log.node, "text": log.text} for path, log in wanted]
