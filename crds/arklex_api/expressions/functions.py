"""The functions of an expression. ``x.f(a)`` and ``f(x, a)`` mean the same.

CEL's own, run by the library: ``int, double, uint, bytes, dyn, timestamp, duration``, ``contains, startsWith, endsWith,
matches`` (RE2), ``getFullYear, getMonth, getDate, getDayOfMonth, getDayOfWeek, getDayOfYear, getHours, getMinutes,
getSeconds, getMilliseconds``. Ours, because the library lacks them or gets them wrong: ``size`` (code points), ``string``
(bools too), ``type``. From the extension libraries of cel-go and Kubernetes, with their meaning:

- ``bool, min, max, sum`` (a list, or arguments);
- strings: ``charAt, indexOf, lastIndexOf, substring, replace, split, join, lowerAscii, upperAscii, trim, strings.quote``;
- ``reverse`` (string or list); lists: ``distinct, flatten, slice, sort, lists.range``;
- ``math.greatest, least, abs, sign, ceil, floor, round, trunc, sqrt, isNaN, isInf, isFinite, bitOr, bitAnd, bitXor, bitNot,
  bitShiftLeft, bitShiftRight``; ``sets.contains, equivalent, intersects``; ``base64.encode, base64.decode``.

Not offered: ``first``, ``last`` (they give optionals, which are not JSON), anything that reads a clock.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from arklex_api.expressions import lists, numbers, strings
from arklex_api.expressions.errors import ExpressionError
from arklex_api.expressions.parser import MACROS
from arklex_api.expressions.values import article, kind, type_of

_GROUPS = {"number": ("int", "double"), "text": ("string", "list"), "data": ("bytes", "string")}
_DATE_PARTS = ("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear")
_TIME_PARTS = ("Hours", "Minutes", "Seconds", "Milliseconds")

NATIVE: dict[str, int] = {
    **dict.fromkeys(("int", "double", "uint", "bytes", "dyn", "timestamp", "duration"), 1),
    **dict.fromkeys(("contains", "startsWith", "endsWith", "matches"), 2),
    **{f"get{part}": 1 for part in (*_DATE_PARTS, *_TIME_PARTS)},
}
"""Functions that the CEL library runs, with their number of arguments."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of ours. ``kinds`` are what its arguments must be (``any``, a kind, or a group of kinds).

    The last ``optional`` of them may be missing; with ``repeat`` there may be any number (at least one) of the last.
    """

    name: str
    call: Callable[..., Any]
    kinds: tuple[str, ...]
    optional: int = 0
    repeat: bool = False

    def accepts(self, count: int) -> bool:
        """Whether it can be called with ``count`` arguments."""
        return count >= len(self.kinds) - self.optional and (self.repeat or count <= len(self.kinds))

    def __call__(self, *args: Any) -> Any:
        """Raises ExpressionError, naming the function, for arguments it does not take."""
        for at, value in enumerate(args):
            wanted = self.kinds[min(at, len(self.kinds) - 1)]
            found = kind(value)
            if wanted not in ("any", found) and found not in _GROUPS.get(wanted, ()):
                raise ExpressionError(f"{self.name}() takes {self._wanted(wanted)} there, not {article(found)}")
        try:
            return self.call(*args)
        except ExpressionError:
            raise
        except (TypeError, ValueError, IndexError, ArithmeticError) as error:
            raise ExpressionError(f"{self.name}(): {error}") from None

    @staticmethod
    def _wanted(wanted: str) -> str:
        return " or ".join(article(name) for name in _GROUPS.get(wanted, (wanted,)))


def _size(value: Any) -> int:
    if type(value) in (str, list, dict, bytes):
        return len(value)
    raise ExpressionError(f"size() takes a string, a list or a map, not {article(kind(value))}")


def _reverse(value: str | list[Any]) -> Any:
    return value[::-1]


def _slice(items: list[Any], start: int, end: int) -> list[Any]:
    if not 0 <= start <= end <= len(items):
        raise ValueError(f"[{start}, {end}) is out of range: the list has {len(items)} items")
    return items[start:end]


def _functions() -> list[Function]:
    text, number, items = ("string",), ("number",), ("list",)
    return [
        Function("size", _size, ("any",)),
        Function("type", type_of, ("any",)),
        Function("bool", strings.to_bool, ("any",)),
        Function("min", lists.least, ("any",), repeat=True),
        Function("max", lists.greatest, ("any",), repeat=True),
        Function("sum", lists.total, ("any",), repeat=True),
        Function("charAt", strings.char_at, ("string", "int")),
        Function("indexOf", strings.index_of, ("string", "string", "int"), 1),
        Function("lastIndexOf", strings.last_index_of, ("string", "string", "int"), 1),
        Function("substring", strings.substring, ("string", "int", "int"), 1),
        Function("replace", strings.replace, ("string", "string", "string", "int"), 1),
        Function("split", strings.split, ("string", "string", "int"), 1),
        Function("join", strings.join, ("list", "string"), 1),
        Function("lowerAscii", strings.lower_ascii, text),
        Function("upperAscii", strings.upper_ascii, text),
        Function("trim", str.strip, text),
        Function("strings.quote", strings.quote, text),
        Function("reverse", _reverse, ("text",)),
        Function("distinct", lists.distinct, items),
        Function("flatten", lists.flatten, ("list", "int"), 1),
        Function("slice", _slice, ("list", "int", "int")),
        Function("sort", lists.sort, items),
        Function("lists.range", lists.count_up, ("int",)),
        Function("math.greatest", lists.greatest, ("any",), repeat=True),
        Function("math.least", lists.least, ("any",), repeat=True),
        Function("math.abs", abs, number),
        Function("math.sign", numbers.sign, number),
        Function("math.ceil", numbers.ceil, number),
        Function("math.floor", numbers.floor, number),
        Function("math.round", numbers.round_half_away, number),
        Function("math.trunc", numbers.trunc, number),
        Function("math.sqrt", numbers.sqrt, number),
        Function("math.isNaN", math.isnan, number),
        Function("math.isInf", math.isinf, number),
        Function("math.isFinite", math.isfinite, number),
        Function("math.bitOr", operator.or_, ("int", "int")),
        Function("math.bitAnd", operator.and_, ("int", "int")),
        Function("math.bitXor", operator.xor, ("int", "int")),
        Function("math.bitNot", numbers.bit_not, ("int",)),
        Function("math.bitShiftLeft", numbers.shift_left, ("int", "int")),
        Function("math.bitShiftRight", numbers.shift_right, ("int", "int")),
        Function("sets.contains", lists.set_contains, ("list", "list")),
        Function("sets.equivalent", lists.set_equivalent, ("list", "list")),
        Function("sets.intersects", lists.set_intersects, ("list", "list")),
        Function("base64.encode", strings.encode, ("data",)),
        Function("base64.decode", strings.decode, text),
    ]


FUNCTIONS: dict[str, Function] = {function.name: function for function in _functions()}
"""Functions that are ours, by name."""


_HINTS = {
    "first": "write x[0]",
    "last": "write x[size(x) - 1]",
    "now": "an expression reads no clock: run.startedAt is a timestamp's text",
    "length": "write size(x)",
    "len": "write size(x)",
    "toString": "write string(x)",
    "optional": "CEL's optional values are not supported: guard with has()",
    "orValue": "CEL's optional values are not supported: write has(a.b) ? a.b : other",
}


def unknown(name: str) -> str:
    """What to say about a function that does not exist."""
    known = [*FUNCTIONS, *NATIVE, "string", "has", *MACROS]
    near = difflib.get_close_matches(name, known, 1)
    hint = _HINTS.get(name) or (f"did you mean {near[0]}()?" if near else "")
    return f"unknown function '{name}()'" + (f": {hint}" if hint else "")
