"""Macros, run here and not by the library: its ``map`` and ``filter`` take time quadratic in the list (10,000 items: 6 s),
walk maps in random order and cannot be stopped. Here they are linear, walk a map's keys in order and have a budget.
"""

from __future__ import annotations

from typing import Any

from arklex_api.expressions.budget import BUDGET, Budget
from arklex_api.expressions.errors import ExpressionError
from arklex_api.expressions.paths import Run, Scope
from arklex_api.expressions.values import article, kind


def compile_macro(name: str, target: Run, variable: str, body: Run, transform: Run | None, where: str) -> Run:
    """``target.name(variable, body)``; ``transform`` for the ``map`` with a filter; ``where`` is its text, for messages."""
    loop = _Loop(name, target, variable, body, where)
    match name:
        case "map":
            return loop.map(body) if transform is None else loop.map_some(transform)
        case "filter":
            return loop.filter
        case "all":
            return lambda scope: not loop.any(scope, False)
        case "exists":
            return lambda scope: loop.any(scope, True)
    return loop.exists_one


class _Loop:
    def __init__(self, name: str, target: Run, variable: str, body: Run, where: str) -> None:
        self._name = name
        self._target = target
        self._variable = variable
        self._body = body
        self._where = where

    def _start(self, scope: Scope) -> tuple[list[Any], dict[str, Any], Budget]:
        value = self._target(scope)
        if type(value) is dict:
            value = sorted(value)
        elif type(value) is not list:
            raise ExpressionError(f"{self._where}: {self._name}() walks a list or a map, not {article(kind(value))}")
        budget: Budget = scope[BUDGET]
        budget.take_steps(len(value))
        return value, dict(scope), budget

    def _test(self, inner: dict[str, Any]) -> bool:
        found = self._body(inner)
        if found is True or found is False:
            return bool(found)
        raise ExpressionError(f"{self._where}: {self._name}() needs a bool for each item, not {article(kind(found))}")

    def map(self, body: Run) -> Run:
        def run(scope: Scope) -> list[Any]:
            items, inner, budget = self._start(scope)
            variable = self._variable
            result = []
            for item in items:
                inner[variable] = item
                value = body(inner)
                budget.take_value(value)
                result.append(value)
            return result

        return run

    def map_some(self, transform: Run) -> Run:
        def run(scope: Scope) -> list[Any]:
            items, inner, budget = self._start(scope)
            result = []
            for item in items:
                inner[self._variable] = item
                if self._test(inner):
                    value = transform(inner)
                    budget.take_value(value)
                    result.append(value)
            return result

        return run

    def filter(self, scope: Scope) -> list[Any]:
        items, inner, _ = self._start(scope)
        result = []
        for item in items:
            inner[self._variable] = item
            if self._test(inner):
                result.append(item)
        return result

    def exists_one(self, scope: Scope) -> bool:
        return len(self.filter(scope)) == 1

    def any(self, scope: Scope, wanted: bool) -> bool:
        """Whether the body is ``wanted`` for an item; as ``||`` does, it forgives errors of others if there is one."""
        items, inner, _ = self._start(scope)
        failed: ExpressionError | None = None
        for item in items:
            inner[self._variable] = item
            try:
                if self._test(inner) is wanted:
                    return True
            except ExpressionError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return False
