"""One check for every value that enters the system from Python: is it JSON as arklex means it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arklex_api.base import JSON

MAX_DEPTH = 64
"""How deep lists and maps may nest."""
MIN_INT, MAX_INT = -(2**63), 2**63 - 1
_INFINITY = float("inf")


def check_json(value: object, *, what: str = "value") -> JSON:
    """``value`` as JSON: None, bool, int (int64), float (finite), str, list or dict with string keys; containers are copied.

    Tuples become lists, and subclasses of these types (enums, defaultdicts …) plain values. Raises ValueError, whose
    message names the path below ``what``, for anything else, for lone surrogates and for more than 64 levels.
    """
    try:
        return _check(value, MAX_DEPTH)
    except _NotJSON as problem:
        path = "".join(_step(key) for key in reversed(problem.path))
        raise ValueError(f"{what}{path} {problem.message}") from None


class _NotJSON(Exception):
    """Carries the keys from the inside out while the stack unwinds."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str | int] = []


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if key.isidentifier() else f"[{key!a}]"


def _check(value: Any, depth: int) -> JSON:
    kind = type(value)
    if kind is str:
        return _check_text(value)
    if kind is dict:
        return _check_dict(value, depth)
    if kind is int:
        if MIN_INT <= value <= MAX_INT:
            return value
        raise _NotJSON("is outside int64")
    if kind is bool or value is None:
        return value
    if kind is list or kind is tuple:
        return _check_list(value, depth)
    if kind is float:
        if -_INFINITY < value < _INFINITY:
            return value
        raise _NotJSON(f"is {value}, which is not JSON")
    return _check_other(value, depth)


def _check_text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _NotJSON("holds a lone surrogate, which is not text") from None
    return value


def _check_dict(value: Mapping[Any, Any], depth: int) -> dict[str, JSON]:
    if depth == 0:
        raise _NotJSON(f"is nested more than {MAX_DEPTH} deep")
    result = {}
    for key, item in value.items():
        if type(key) is not str:
            key = _check_key(key)
        elif not key.isascii():
            _check_text(key)
        try:
            result[key] = _check(item, depth - 1)
        except _NotJSON as problem:
            problem.path.append(key)
            raise
    return result


def _check_list(value: list[Any] | tuple[Any, ...], depth: int) -> list[JSON]:
    if depth == 0:
        raise _NotJSON(f"is nested more than {MAX_DEPTH} deep")
    result: list[JSON] = []
    for item in value:
        try:
            result.append(_check(item, depth - 1))
        except _NotJSON as problem:
            problem.path.append(len(result))
            raise
    return result


def _check_key(key: Any) -> str:
    if isinstance(key, str):
        return _check_text(str.__str__(key))
    raise _NotJSON(f"has a key that is {type(key).__name__}, not str")


def _check_other(value: Any, depth: int) -> JSON:
    """Subclasses of the exact types, as plain values."""
    if isinstance(value, str):
        return _check_text(str.__str__(value))
    if isinstance(value, int):
        return _check(int.__index__(value), depth)
    if isinstance(value, float):
        return _check(float.__float__(value), depth)
    if isinstance(value, dict):
        return _check_dict(value, depth)
    if isinstance(value, list | tuple):
        return _check_list(value, depth)
    raise _NotJSON(f"is {type(value).__name__}, which is not JSON")
