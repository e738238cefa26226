"""Pure paths (``tasks.a.output.x[0]``, ``item``) over JSON, without CEL (about 0.2 µs), and what to say when one fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from arklex_api.base import JSON
from arklex_api.expressions.errors import ExpressionError
from arklex_api.expressions.values import article, kind

Scope: TypeAlias = Mapping[str, JSON]
Run: TypeAlias = Callable[[Scope], Any]
"""A compiled expression, or a part of one: from the scope to its value. Raises ExpressionError."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SHOWN = 10
_WIDTH = 64


def render(root: str, path: tuple[str | int, ...]) -> str:
    """The path as one would write it: ``tasks['my-task'].output.x[0]``."""
    return root + "".join(f".{part}" if _is_name(part) else f"[{part!r}]" for part in path)


def _is_name(part: str | int) -> bool:
    return isinstance(part, str) and _NAME.match(part) is not None and part not in ("in", "true", "false", "null")


def compile_path(root: str, path: tuple[str | int, ...]) -> Run:
    """The value at ``path`` under the variable ``root``."""
    if not path:
        return _root(root)
    if any(isinstance(part, int) for part in path):
        return _checked(root, path)
    return _fields(root, path)


def _root(root: str) -> Run:
    def run(scope: Scope) -> JSON:
        try:
            return scope[root]
        except KeyError:
            raise ExpressionError(f"{root} has no value here") from None

    return run


def _fields(root: str, path: tuple[str | int, ...]) -> Run:
    def run(scope: Scope) -> JSON:
        try:
            value = scope[root]
            for part in path:
                value = value[part]
        except (KeyError, TypeError):
            raise _explain(scope, root, path) from None
        return value

    return run


def _checked(root: str, path: tuple[str | int, ...]) -> Run:
    """Python would index a string, and a list from its end: CEL does neither."""

    def run(scope: Scope) -> JSON:
        try:
            value = scope[root]
            for part in path:
                if type(part) is int and (type(value) is not list or part < 0):
                    raise IndexError
                value = value[part]
        except (KeyError, TypeError, IndexError):
            raise _explain(scope, root, path) from None
        return value

    return run


def _explain(scope: Scope, root: str, path: tuple[str | int, ...]) -> ExpressionError:
    """Which step of the path failed, and what there is instead."""
    if root not in scope:
        return ExpressionError(f"{root} has no value here")
    value = scope[root]
    for at, part in enumerate(path):
        where = render(root, path[:at])
        try:
            value = value[part] if root == "tasks" and at == 0 else step(value, part, where)
        except KeyError:
            return ExpressionError(f"tasks has no {part!r}: only dependencies of this task are in scope")
        except ExpressionError as error:
            return _task_hint(root, path[: at + 1], value, error)
    return ExpressionError(f"{render(root, path)} cannot be read")


def _task_hint(root: str, path: tuple[str | int, ...], value: Any, error: ExpressionError) -> ExpressionError:
    if root == "tasks" and len(path) == 2 and path[1] == "output" and type(value) is dict:
        where = render(root, path[:1])
        return ExpressionError(f"{where} has no output, it is {value.get('phase', 'not run')}; guard with has({where}.output)")
    return error


def step(value: Any, part: Any, where: str) -> Any:
    """``value[part]`` as CEL means it; ``where`` is the text of ``value``. Raises ExpressionError naming what there is."""
    found, key = type(value), type(part)
    if found is dict and key is str:
        if part in value:
            return value[part]
        raise ExpressionError(f"{where} has no field {_clip(part)!r}; {_fields_of(value)}")
    if found is list and key is int:
        if 0 <= part < len(value):
            return value[part]
        raise ExpressionError(f"{where}[{part}] is out of range: the list has {len(value)} items")
    if found is list:
        raise ExpressionError(f"{where} is a list: its index must be an int, not {_show(part)}")
    if found is dict:
        raise ExpressionError(f"{where} is a map: its key must be a string, not {_show(part)}")
    missing = _show(part) if key is str else "items"
    raise ExpressionError(f"{where} is {article(kind(value))}: it has no {missing}")


def _show(part: Any) -> str:
    return f"field {_clip(part)!r}" if type(part) is str else article(kind(part))


def _clip(name: str) -> str:
    return name if len(name) <= _WIDTH else name[: _WIDTH - 1] + "…"


def _fields_of(value: dict[str, Any]) -> str:
    if not value:
        return "it is empty"
    names = sorted(value)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"it has: {', '.join(_clip(name) for name in names[:_SHOWN])}{more}"


def has(value: Any, field: str, where: str) -> bool:
    """CEL's ``has(value.field)``: whether the map has the key, null included. Raises ExpressionError if it is no map."""
    if type(value) is dict:
        return field in value
    raise ExpressionError(f"has({where}.{field}): {where} is {article(kind(value))}, not a map")
