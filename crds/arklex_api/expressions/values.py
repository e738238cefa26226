"""Values during an evaluation: their kinds, CEL's equality, and the check of a result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from arklex_api.base import JSON
from arklex_api.expressions.errors import ExpressionError
from arklex_api.jsonvalue import MAX_INT, MIN_INT, check_json


@dataclass(frozen=True, slots=True)
class TypeValue:
    """What ``type(x)`` gives, and the names ``int``, ``string`` … stand for. Not JSON."""

    name: str


TYPE_NAMES = ("bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint")

_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    list: "list",
    dict: "map",
    bytes: "bytes",
    datetime: "timestamp",
    timedelta: "duration",
    TypeValue: "type",
}
_SCALARS = (str, bool, type(None))


def kind(value: Any) -> str:
    """CEL's name for the type of ``value``: ``int``, ``double``, ``string``, ``list``, ``map``, ``null`` …"""
    return _KINDS.get(type(value), type(value).__name__)


def type_of(value: Any) -> TypeValue:
    """CEL's ``type(value)``."""
    name = kind(value)
    return TypeValue("null_type" if name == "null" else name)


def equal(left: Any, right: Any) -> bool:
    """CEL's ``==``: int and double compare by value, bool is no number, and values of different types are unequal."""
    first, second = type(left), type(right)
    if first is second:
        if first is list:
            return len(left) == len(right) and all(map(equal, left, right))
        if first is dict:
            return left.keys() == right.keys() and all(equal(item, right[key]) for key, item in left.items())
        return bool(left == right)
    return first in (int, float) and second in (int, float) and bool(left == right)


def contains(value: Any, container: Any) -> bool:
    """CEL's ``value in container``, of a list's items or a map's keys. Raises ExpressionError for other containers."""
    if type(container) is dict:
        if type(value) not in (str, int, bool):
            raise ExpressionError(f"a map's keys are strings, so {article(kind(value))} is never 'in' one")
        return type(value) is str and value in container
    if type(container) is list:
        if type(value) is str:
            return value in container
        return any(equal(value, item) for item in container)
    raise ExpressionError(f"'in' looks into a list or a map, not into {article(kind(container))}")


def article(name: str) -> str:
    """``name`` with its article: ``an int``, ``a list``, ``null``."""
    if name in ("null", "bytes"):
        return name
    return f"an {name}" if name[0] in "aeio" else f"a {name}"


def check_result(value: Any, text: str) -> JSON:
    """``value`` if it is JSON, containers copied. Raises ExpressionError (InvalidOutput) naming the expression ``text``."""
    found = type(value)
    if found in _SCALARS or (found is int and MIN_INT <= value <= MAX_INT):
        return value
    if found in (datetime, timedelta, bytes, TypeValue):
        raise ExpressionError(f"{text} is {article(kind(value))}, which is not JSON: use string(…)", "InvalidOutput")
    try:
        return check_json(value, what=text)
    except ValueError as error:
        hint = ": use string(…)" if any(name in str(error) for name in ("datetime", "timedelta", "bytes", "TypeValue")) else ""
        raise ExpressionError(f"{error}{hint}", "InvalidOutput") from None
