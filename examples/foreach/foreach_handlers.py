"""Handlers of examples/foreach."""

from __future__ import annotations

from typing import Any

from arklex_runtime.errors import TaskError
from arklex_runtime.workers.base import TaskContext


def weigh(inputs: dict[str, Any], context: TaskContext) -> dict[str, Any]:
    """A word's weight is its length. ``fail`` fails for good, ``flaky`` only at first."""
    word = inputs["word"]
    if word == "fail":
        raise ValueError("the scales do not take this word")
    if word == "flaky" and context.attempt == 1:
        raise TaskError("Unavailable", "the scales were busy")
    return {"word": word, "weight": len(word), "place": inputs["place"], "attempt": context.attempt}
