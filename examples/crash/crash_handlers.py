"""Handlers of examples/crash."""

from __future__ import annotations

import time
from typing import Any

from arklex_runtime import TaskContext


def handle(inputs: dict[str, Any], context: TaskContext) -> dict[str, Any]:
    """``fetch`` gives pages, ``index`` counts them; its first attempt takes an hour, so that there is time to kill it."""
    if context.action == "fetch":
        return {"pages": [f"page {number}" for number in range(inputs["count"])]}
    if context.attempt == 1:
        time.sleep(3600)
    return {"pages": len(inputs["pages"]), "attempt": context.attempt}
