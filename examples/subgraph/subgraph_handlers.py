"""Handlers of examples/subgraph."""

from __future__ import annotations

from typing import Any

from arklex_runtime.workers.base import TaskContext


def handle(inputs: dict[str, Any], context: TaskContext) -> dict[str, Any]:
    """``facts`` finds, ``write`` writes, ``bind`` binds."""
    if context.action == "facts":
        return {"facts": [f"{inputs['topic']} are old", f"{inputs['topic']} are many"]}
    if context.action == "write":
        return {"text": f"On {inputs['topic']}: {'; '.join(inputs['facts'])}."}
    return {"text": "\n".join(f"{number}. {text}" for number, text in enumerate(inputs["chapters"], 1))}
