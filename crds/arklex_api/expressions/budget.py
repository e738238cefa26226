"""What one evaluation may cost. CEL cannot be interrupted, so an expression is refused before it gets too far."""

from __future__ import annotations

from typing import Any

from arklex_api.expressions.errors import ExpressionError

MAX_STEPS = 100_000
"""Rounds of all macros of one evaluation together, and (longest list or map)^depth before it starts."""
MAX_UNITS = 4 * 1024 * 1024
"""Values and characters that the macros of one evaluation may make, and characters that one operation may."""
MAX_MACRO_DEPTH = 2
BUDGET = ""
"""The key of a scope that holds the Budget; no identifier is empty."""


class Budget:
    """What is left of one evaluation's steps and units."""

    __slots__ = ("_steps", "_units")

    def __init__(self) -> None:
        self._steps = MAX_STEPS
        self._units = MAX_UNITS

    def take_steps(self, count: int) -> None:
        """Charges ``count`` rounds of a macro. Raises ExpressionError."""
        self._steps -= count
        if self._steps < 0:
            raise too_costly(f"its macros take more than {MAX_STEPS:,} steps")

    def take_value(self, value: Any) -> None:
        """Charges a value that a macro made: one unit a value and a character. Raises ExpressionError."""
        found = type(value)
        if found is str:
            self._units -= len(value)
        elif found is list or found is dict:
            self._take_container(value)
        self._units -= 1
        if self._units < 0:
            raise _too_large()

    def _take_container(self, value: list[Any] | dict[str, Any]) -> None:
        self._units -= len(value)
        if self._units < 0:
            raise _too_large()
        for item in value.values() if isinstance(value, dict) else value:
            if type(item) in (str, list, dict):
                self.take_value(item)


def _too_large() -> ExpressionError:
    return too_costly(f"its macros make more than {MAX_UNITS:,} values and characters")


def too_costly(why: str) -> ExpressionError:
    return ExpressionError(f"expression too costly: {why}")


def check_length(length: int) -> None:
    """Refuses an operation whose text or list would be ``length`` long. Raises ExpressionError."""
    if length > MAX_UNITS:
        raise too_costly(f"one operation makes {length:,} characters, at most {MAX_UNITS:,}")


def longest(value: Any) -> int:
    """The length of the longest list or map in ``value``, itself included; 0 without one."""
    found = 0
    stack = [value]
    while stack:
        container = stack.pop()
        if type(container) is dict:
            container = container.values()
        elif type(container) is not list:
            continue
        found = max(found, len(container))
        stack.extend(item for item in container if type(item) in (list, dict))
    return found
