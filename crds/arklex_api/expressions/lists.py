"""Functions on lists, by CEL's equality and within the budget. All raise ExpressionError for what they do not take."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from arklex_api.expressions.budget import MAX_STEPS, too_costly
from arklex_api.expressions.errors import ExpressionError
from arklex_api.expressions.values import kind
from arklex_api.jsonvalue import MAX_INT, MIN_INT


def check_items(count: int) -> None:
    """Refuses to make a list of ``count`` items if that is more than macros could walk through."""
    if count > MAX_STEPS:
        raise too_costly(f"it makes a list of {count:,} items, at most {MAX_STEPS:,}")


def _arguments(args: tuple[Any, ...]) -> list[Any]:
    return args[0] if len(args) == 1 and type(args[0]) is list else list(args)


def _alike(items: list[Any], name: str, kinds: tuple[str, ...]) -> list[Any]:
    """``items``, if all are of one of ``kinds``: CEL orders and adds nothing else."""
    found = {kind(item) for item in items}
    if found == {"int", "double"}:
        raise ExpressionError(f"{name}(): CEL does not mix int and double: convert with map(x, double(x))")
    if len(found) > 1 or not found <= set(kinds):
        raise ExpressionError(f"{name}() takes values of one kind, of {', '.join(kinds)}; found {', '.join(sorted(found))}")
    return items


_ORDERED = ("int", "double", "string", "bool", "timestamp", "duration")


def _some(items: list[Any], name: str) -> list[Any]:
    if not items:
        raise ExpressionError(f"{name}() of an empty list")
    return _alike(items, name, _ORDERED)


def least(*args: Any) -> Any:
    """The smallest item of a list, or argument."""
    return min(_some(_arguments(args), "min"))


def greatest(*args: Any) -> Any:
    """The greatest item of a list, or argument."""
    return max(_some(_arguments(args), "max"))


def total(*args: Any) -> int | float:
    """The sum of ints or of doubles; 0 of nothing."""
    value: int | float = sum(_alike(_arguments(args), "sum", ("int", "double")))
    if type(value) is int and not MIN_INT <= value <= MAX_INT:
        raise ExpressionError("sum() is outside int64")
    return value


def sort(items: list[Any]) -> list[Any]:
    """The items in ascending order."""
    return sorted(_some(items, "sort")) if items else []


def _key(value: Any) -> Hashable:
    """Equal for values that CEL finds equal, and only for them."""
    found = type(value)
    if found is bool or value is None or found is str:
        return (found.__name__, value)
    if found is list:
        return ("list", tuple(_key(item) for item in value))
    if found is dict:
        return ("map", frozenset((key, _key(item)) for key, item in value.items()))
    if found in (int, float):
        return ("number", value)
    return (found.__name__, value)


def distinct(items: list[Any]) -> list[Any]:
    """The items without repetitions, the first of equals kept."""
    return list({_key(item): item for item in reversed(items)}.values())[::-1]


def flatten(items: list[Any], depth: int = 1) -> list[Any]:
    """The items with lists in them replaced by theirs, ``depth`` levels down."""
    if depth < 0:
        raise ExpressionError("flatten(): the depth must not be negative")
    result: list[Any] = []
    for item in items:
        result.extend(flatten(item, depth - 1) if depth > 0 and type(item) is list else [item])
        check_items(len(result))
    return result


def count_up(count: int) -> list[int]:
    """0 … count - 1."""
    check_items(count)
    return list(range(count))


def _keys(items: list[Any]) -> set[Hashable]:
    return {_key(item) for item in items}


def set_contains(container: list[Any], items: list[Any]) -> bool:
    """Whether every item is in ``container``."""
    return _keys(items) <= _keys(container)


def set_equivalent(left: list[Any], right: list[Any]) -> bool:
    """Whether each list has every item of the other."""
    return _keys(left) == _keys(right)


def set_intersects(left: list[Any], right: list[Any]) -> bool:
    """Whether the lists have an item in common."""
    return not _keys(left).isdisjoint(_keys(right))
