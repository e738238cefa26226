"""The closures that need no library: logic, choice, equality, containers, fields, calls of our functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from arklex_api.expressions.errors import ExpressionError
from arklex_api.expressions.paths import Run, Scope, compile_path, has, render, step
from arklex_api.expressions.values import article, contains, equal, kind


def constant(value: Any) -> Run:
    """Always ``value``, whatever the scope."""
    return lambda scope: value


def _bool(value: Any, where: str) -> bool:
    if value is True or value is False:
        return bool(value)
    raise ExpressionError(f"{where} must be a bool, but is {article(kind(value))}")


def negate(operand: Run, where: str) -> Run:
    """``!operand``."""
    return lambda scope: not _bool(operand(scope), where)


def connect(left: Run, right: Run, decisive: bool, left_text: str, right_text: str) -> Run:
    """``||`` (decisive: true) and ``&&`` (false): as CEL has it, a decisive side hides an error of the other."""

    def run(scope: Scope) -> bool:
        failed: ExpressionError | None = None
        try:
            if _bool(left(scope), left_text) is decisive:
                return decisive
        except ExpressionError as error:
            failed = error
        if _bool(right(scope), right_text) is decisive:
            return decisive
        if failed is not None:
            raise failed
        return not decisive

    return run


def ternary(condition: Run, then: Run, otherwise: Run, where: str) -> Run:
    """``condition ? then : otherwise``; only the chosen side is evaluated."""
    return lambda scope: then(scope) if _bool(condition(scope), where) else otherwise(scope)


def compare(op: str, left: Run, right: Run, where: str) -> Run:
    """``==``, ``!=`` and ``in``."""
    if op == "==":
        return lambda scope: equal(left(scope), right(scope))
    if op == "!=":
        return lambda scope: not equal(left(scope), right(scope))

    def run(scope: Scope) -> bool:
        try:
            return contains(left(scope), right(scope))
        except ExpressionError as error:
            raise ExpressionError(f"{where}: {error}", error.type) from None

    return run


def make_list(items: Sequence[Run]) -> Run:
    """``[…]``."""
    return lambda scope: [item(scope) for item in items]


def make_map(keys: Sequence[Run], values: Sequence[Run], where: str) -> Run:
    """``{…}``, its keys in the order they are written; they must be strings."""
    pairs = tuple(zip(keys, values, strict=True))

    def run(scope: Scope) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_run, value_run in pairs:
            key = key_run(scope)
            if type(key) is not str:
                raise ExpressionError(f"{where}: the keys of a map must be strings, not {article(kind(key))}")
            if key in result:
                raise ExpressionError(f"{where}: the map has the key {key!r} twice")
            result[key] = value_run(scope)
        return result

    return run


def select(operand: Run, field: str, where: str) -> Run:
    """``operand.field`` of a value that is computed."""
    return lambda scope: step(operand(scope), field, where)


def index(operand: Run, position: Run, where: str) -> Run:
    """``operand[position]`` of a value or position that is computed."""
    return lambda scope: step(operand(scope), position(scope), where)


def has_field(operand: Run, field: str, where: str) -> Run:
    """``has(operand.field)``."""
    return lambda scope: has(operand(scope), field, where)


def has_task(path: tuple[str | int, ...]) -> Run:
    """``has(tasks.…)``: an error that is null and an output that does not exist are not there, nor is anything in them."""
    task, *rest = path
    view = compile_path("tasks", (task,))
    if not rest:
        return lambda scope: view(scope) is not None
    top = rest[0]
    if len(rest) == 1:
        return (lambda scope: view(scope).get(top) is not None) if top == "error" else (lambda scope: top in view(scope))
    field = str(rest[-1])
    parent = has_field(compile_path("tasks", path[:-1]), field, render("tasks", path[:-1]))
    if top == "error":
        return lambda scope: view(scope).get("error") is not None and parent(scope)
    if top == "output":
        return lambda scope: "output" in view(scope) and parent(scope)
    return parent


def call(function: Callable[..., Any], args: Sequence[Run]) -> Run:
    """A function of ours, applied to the values of ``args``."""
    if len(args) == 1:
        only = args[0]
        return lambda scope: function(only(scope))
    return lambda scope: function(*[arg(scope) for arg in args])


def to_string(operand: Run, native: Run) -> Run:
    """``string(x)``, bools included, which the library lacks."""

    def run(scope: Scope) -> Any:
        value = operand(scope)
        if type(value) is str:
            return value
        if value is True or value is False:
            return "true" if value else "false"
        return native(scope)

    return run
