"""The check of every value that comes in from Python."""

from __future__ import annotations

import enum
from collections import OrderedDict, namedtuple
from typing import Any

import pytest

from arklex_api.jsonvalue import check_json


class Colour(enum.IntEnum):
    RED = 1


class Word(str):
    """A subclass with its own idea of text."""

    def __str__(self) -> str:
        return "something else"


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize("value", [None, True, 0, -(2**63), 2**63 - 1, 1.5, "", "é😀", [], {}, {"a": [1, {"b": None}]}])
def test_json_stays_as_it_is(value: Any) -> None:
    found = check_json(value)
    assert found == value
    assert type(found) is type(value)


def test_containers_are_copied() -> None:
    inner: list[int] = []
    value = {"a": inner}
    found = check_json(value)
    inner.append(1)
    assert found == {"a": []}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        (Colour.RED, 1),
        (Word("a"), "a"),
        ({Word("k"): Word("v")}, {"k": "v"}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (type("F", (float,), {})(1.5), 1.5),
        (type("L", (list,), {})([1]), [1]),
    ],
)
def test_subclasses_become_plain(value: Any, plain: Any) -> None:
    def types(item: Any) -> Any:
        if isinstance(item, list):
            return [types(part) for part in item]
        return {type(key): types(part) for key, part in item.items()} if isinstance(item, dict) else type(item)

    found = check_json(value)
    assert found == plain
    assert types(found) == types(plain)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**63, "output is outside int64"),
        (-(2**63) - 1, "output is outside int64"),
        (float("nan"), "output is nan, which is not JSON"),
        ([float("inf")], "output[0] is inf, which is not JSON"),
        ({"a": [0, {"b c": {1}}]}, "output.a[1]['b c'] is set, which is not JSON"),
        ({"a": {1: 2}}, "output.a has a key that is int, not str"),
        ({"a": b"x"}, "output.a is bytes, which is not JSON"),
        ("\ud800", "output holds a lone surrogate"),
        ({"\ud800": 1}, "output holds a lone surrogate"),
        (deep(65), "is nested more than 64 deep"),
        (object(), "output is object, which is not JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_its_path(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match="output") as caught:
        check_json(value, what="output")
    assert message in str(caught.value)


def test_sixty_four_levels_pass_and_a_cycle_does_not() -> None:
    assert check_json(deep(64)) == deep(64)
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        check_json(cycle)
