"""Handlers of examples/approval."""

from __future__ import annotations

from typing import Any

from arklex_runtime.workers.base import TaskContext


async def handle(inputs: dict[str, Any], context: TaskContext) -> dict[str, Any]:
    """``draft`` writes a text, ``send`` pretends to send it; a real one would use context.idempotency_key."""
    if context.action == "draft":
        return {"text": f"Dear customer, about your request '{inputs['request']}': done."}
    return {"sent": inputs["text"], "approvedBy": inputs["by"], "data": inputs["data"], "key": context.idempotency_key}
