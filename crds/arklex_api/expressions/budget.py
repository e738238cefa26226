"""What one evaluation may cost. CEL cannot be interrupted, so an expression is refused before it gets too far."""

from __future__ import annotations

from typing import Any

from arklex_api.expressions.errors import ExpressionError

MAX_STEPS = 100_000
"""Rounds of all macros of one evaluation together, and (longest list or map)^depth before it starts."""
MAX_UNITS = 4 * 1024 * 1024
"""Values and characters that the macros of one evaluation may make, and characters that one operation may."""
MAX_CONSTANT_STEPS = 10_000
MAX_CONSTANT_UNITS = 64 * 1024
"""The same for what is evaluated while compiling, which anyone may have done who can lint."""
MAX_MACRO_DEPTH = 2
MAX_VALUE_DEPTH = 96
"""How deep a value that macros make may nest: JSON's 64 and the brackets of one expression."""
BUDGET = ""
"""The key of a scope that holds the Budget; no identifier is empty."""


class Budget:
    """What is left of one evaluation's steps and units."""

    __slots__ = ("_steps", "_units")

    def __init__(self, steps: int = MAX_STEPS, units: int = MAX_UNITS) -> None:
        self._steps = steps
        self._units = units

    def take_steps(self, count: int) -> None:
        """Charges ``count`` rounds of a macro. Raises ExpressionError."""
        self._steps -= count
        if self._steps < 0:
            raise too_costly("its macros take too many steps")

    def take_value(self, value: Any, depth: int = MAX_VALUE_DEPTH) -> None:
        """Charges a value that a macro made: one unit a value and a character. Raises ExpressionError."""
        found = type(value)
        if found is str:
            self._units -= len(value)
        elif found is list or found is dict:
            self._take_container(value, depth)
        self._units -= 1
        if self._units < 0:
            raise _too_large()

    def _take_container(self, value: list[Any] | dict[str, Any], depth: int) -> None:
        self._units -= len(value)
        if self._units < 0:
            raise _too_large()
        if depth == 0:
            raise too_costly(f"its macros nest a value more than {MAX_VALUE_DEPTH} deep")
        for item in value.values() if isinstance(value, dict) else value:
            if type(item) in (str, list, dict):
                self.take_value(item, depth - 1)


def _too_large() -> ExpressionError:
    return too_costly("its macros make too many values or too much text")


def too_costly(why: str) -> ExpressionError:
    """The error of an expression that is refused for what it would cost."""
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
