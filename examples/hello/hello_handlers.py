"""Handlers of examples/hello: one function for all actions of the worker, told apart by the context."""

from __future__ import annotations

from typing import Any

from arklex_runtime.workers.base import TaskContext


def handle(inputs: dict[str, Any], context: TaskContext) -> dict[str, Any]:
    """``greet`` gives a text, ``measure`` the number of letters."""
    if context.action == "greet":
        return {"text": f"Hello, {inputs['name']}!"}
    return {"letters": sum(character.isalpha() for character in inputs["text"])}
